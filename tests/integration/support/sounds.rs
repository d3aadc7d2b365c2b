//! Sounds that are no plain speech, as files.

use std::path::{Path, PathBuf};

use super::speech::{recording, run, sentence};

/// Makes the file `name` in `folder`; the name without its ending says what is in it:
///
/// | name | what |
/// |---|---|
/// | `speech` | the sentence |
/// | `pauses` | the sentence twice, with ten seconds of silence around each |
/// | `faint` | the sentence, 50 dB quieter |
/// | `muted` | as long, and silent |
/// | `buzz` | three words, then 22 seconds of a hum that swells as speech does |
/// | `tone`, `white`, `pink`, `brown` | four seconds of a tone or of noise |
pub(crate) fn sound(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let file = path.to_str().expect("a plain path");
    let sentence = sentence();
    let sentence = sentence.to_str().expect("a plain path");
    let words = recording("cards/001.wav");
    let words = words.to_str().expect("a plain path");
    let hum = folder.join("hum.wav");
    let hum = hum.to_str().expect("a plain path");
    let made: &[&str] = match name.split('.').next().expect("a name") {
        "speech" => &[sentence, file],
        "pauses" => &[sentence, sentence, file, "pad", "10", "10@6.05", "10"],
        "faint" => &[sentence, file, "gain", "-50"],
        "muted" => &[sentence, file, "vol", "0"],
        "buzz" => {
            let swells = "synth 22 sawtooth 120-180 tremolo 4 90 band 700 400 vol 0.4";
            let shape = ["-R", "-n", "-r", "16000", "-b", "16", hum].into_iter();
            run("sox", &shape.chain(swells.split(' ')).collect::<Vec<_>>());
            &[words, hum, file]
        }
        "tone" => {
            &["-n", "-r", "16000", "-b", "16", file, "synth", "4", "sine", "1000", "vol", "0.3"]
        }
        "white" => {
            &["-n", "-r", "16000", "-b", "16", file, "synth", "4", "whitenoise", "vol", "0.1"]
        }
        "pink" => &["-n", "-r", "16000", "-b", "16", file, "synth", "4", "pinknoise", "vol", "0.3"],
        "brown" => {
            &["-n", "-r", "16000", "-b", "16", file, "synth", "4", "brownnoise", "vol", "0.3"]
        }
        other => panic!("{other} is no sound"),
    };
    run("sox", made);
    path
}

/// The files as the channels of one.
pub(crate) fn together(folder: &Path, name: &str, channels: &[&Path]) -> PathBuf {
    let path = folder.join(name);
    let mut arguments = vec!["-M"];
    arguments.extend(channels.iter().map(|path| path.to_str().expect("a plain path")));
    arguments.push(path.to_str().expect("a plain path"));
    run("sox", &arguments);
    path
}
