//! Transcribes files with the default recogniser, one line each: name, seconds of audio, seconds
//! of work, text. The benchmark computes word error rates from it. `--vocabulary FILE` has words that
//! are expected, one a line, each with what it sounds like behind it (`CEO|see ee oh`).
//!
//! ```sh
//! cargo run --release -p portcullis-speech --example transcribe -- "$(scripts/model.sh --path)" a.wav
//! ```

use std::{fs::File, path::Path, process::ExitCode, time::Duration, time::Instant};

use portcullis_speech::{
    audio::AudioReader,
    recogniser::{Cancel, Heard, Recogniser, SessionOptions},
    slots::Slots,
    whisper::Whisper,
};

mod shared;

use shared::vocabulary;

type Failure = Box<dyn std::error::Error>;

fn transcribe(
    whisper: &Whisper,
    options: SessionOptions,
    path: &Path,
) -> Result<(f64, String), Failure> {
    let day = Duration::from_secs(86_400);
    let mut audio = AudioReader::open(File::open(path)?, day, &options.cancel)?;
    let mut session = whisper.begin(options)?;
    let mut heard = Vec::new();
    while let Some(samples) = audio.next_samples()? {
        heard.extend(session.feed(&samples)?);
    }
    heard.extend(session.finish()?);
    let mut words = Vec::new();
    for heard in heard {
        if let Heard::Final(stretch) = heard {
            words.extend(stretch.words.into_iter().map(|word| word.text));
        }
    }
    Ok((audio.duration().as_secs_f64(), words.join(" ")))
}

#[expect(clippy::print_stdout, reason = "the lines are what the program is for")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = SessionOptions::batch("en", Cancel::default());
    let mut rest = &*arguments;
    loop {
        match rest {
            [option, language, others @ ..] if option == "--language" => {
                options.language.clone_from(language);
                rest = others;
            }
            [option, list, others @ ..] if option == "--vocabulary" => {
                match vocabulary(list) {
                    Ok(terms) => options.vocabulary = terms,
                    Err(err) => {
                        eprintln!("{list}: {err}");
                        return ExitCode::FAILURE;
                    }
                }
                rest = others;
            }
            _ => break,
        }
    }
    let Some((model, files)) = rest.split_first() else {
        eprintln!("usage: transcribe [--language CODE] [--vocabulary FILE] MODEL FILE...");
        return ExitCode::from(2);
    };
    let whisper = match Whisper::load(Path::new(model), Slots::new(1)) {
        Ok(whisper) => whisper,
        Err(err) => {
            eprintln!("{err}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let begun = Instant::now();
        match transcribe(&whisper, options.clone(), Path::new(file)) {
            Ok((length, text)) => {
                println!("{file}\t{length:.3}\t{:.3}\t{text}", begun.elapsed().as_secs_f64());
            }
            Err(err) => {
                eprintln!("{file}: {err}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
