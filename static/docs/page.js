// Links as the manual gives them: /docs/#/Management/ZipLogs. Nothing outside is asked.
window.addEventListener("load", () => {
  SwaggerUIBundle({
    // The origin has no password in it, even where the address of the page does.
    url: `${window.location.origin}/docs/openapi.json`,
    dom_id: "#api",
    deepLinking: true,
    validatorUrl: null,
    queryConfigEnabled: false,
    presets: [SwaggerUIBundle.presets.apis],
  });
});
