// Runs one scenario: `node run.js NAME`. Whatever goes wrong ends it with an error.
const [name] = process.argv.slice(2);
const { default: scenario } = await import(`./scenarios/${name}.js`);
try {
  await scenario();
} catch (error) {
  console.error(error);
  process.exit(1);
}
process.exit(0);
