//! Streams files through live sessions of the default recogniser and prints one line for each session and file: name, seconds of audio,
//! seconds of work, real-time factor, text. The last line begins with `all` and has words and the
//! delays of their finals (p50, p95, longest) in seconds, the longest lag behind the pace, and the
//! seconds of CPU time for each second of the clock. The benchmark reads it.
//!
//! Audio comes as fast as possible; with `--paced` as from a microphone; with `--simulated` so on a
//! clock that goes on by CPU time alone, for one session: the figures are then those of a quiet
//! machine, and sooner there. `--vocabulary FILE` has words that are expected, one a line, each with
//! what it sounds like behind it (`CEO|see ee oh`).
//!
//! ```sh
//! cargo run --release -p portcullis-speech --example stream -- "$(scripts/model.sh --path)" \
//!     --paced --max-delay 2 --sessions 4 a.wav
//! ```

use std::{
    fs::File,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use portcullis_speech::{
    audio::AudioReader,
    measures::Measures,
    recogniser::{
        Cancel, Clock, Heard, LiveOptions, Recogniser, SAMPLE_RATE, SessionOptions, Term,
    },
    slots::Slots,
    whisper::Whisper,
};

mod shared;

use shared::vocabulary;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What clients send at once: 100 ms.
const MESSAGE: usize = SAMPLE_RATE as usize / 10;
/// What the product feeds at most at once.
const MOST_AT_ONCE: usize = SAMPLE_RATE as usize * 5;

struct Arguments {
    model: String,
    files: Vec<String>,
    sessions: usize,
    slots: usize,
    /// Files one after the other in one session, with two seconds of silence between.
    joined: bool,
    paced: bool,
    simulated: bool,
    show: bool,
    vocabulary: Vec<Term>,
    live: LiveOptions,
}

impl Arguments {
    fn parse() -> Result<Self, Failure> {
        let mut arguments = std::env::args().skip(1);
        let model = arguments.next().ok_or("usage: stream MODEL [OPTION...] FILE...")?;
        let mut parsed = Self {
            model,
            files: Vec::new(),
            sessions: 1,
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            joined: false,
            paced: false,
            simulated: false,
            show: false,
            vocabulary: Vec::new(),
            live: LiveOptions { partials: true, ..LiveOptions::default() },
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--max-delay" => {
                    parsed.live.max_delay = Duration::try_from_secs_f64(value()?.parse()?)?;
                }
                "--end-of-utterance" => {
                    let silence = Duration::try_from_secs_f64(value()?.parse()?)?;
                    parsed.live.end_of_utterance = Some(silence);
                }
                "--sessions" => parsed.sessions = value()?.parse()?,
                "--slots" => parsed.slots = value()?.parse()?,
                "--no-partials" => parsed.live.partials = false,
                "--joined" => parsed.joined = true,
                "--paced" => parsed.paced = true,
                "--simulated" => (parsed.paced, parsed.simulated) = (true, true),
                "--vocabulary" => parsed.vocabulary = vocabulary(&value()?)?,
                "--show" => parsed.show = true,
                _ => parsed.files.push(argument),
            }
        }
        Ok(parsed)
    }
}

fn samples(path: &Path) -> Result<Vec<f32>, Failure> {
    let day = Duration::from_secs(86_400);
    let mut audio = AudioReader::open(File::open(path)?, day, &Cancel::default())?;
    let mut samples = Vec::new();
    while let Some(more) = audio.next_samples()? {
        samples.extend_from_slice(&more);
    }
    Ok(samples)
}

struct Streamed {
    name: String,
    text: String,
    measures: Measures,
    lag: Duration,
}

#[expect(clippy::print_stdout, reason = "the lines are what the program is for")]
fn stream(
    whisper: &Whisper,
    arguments: &Arguments,
    name: &str,
    samples: &[f32],
) -> Result<Streamed, Failure> {
    let clock = if arguments.simulated { Clock::simulated()? } else { Clock::default() };
    let mut options = SessionOptions::live("en", arguments.live.clone(), Cancel::default());
    options.vocabulary.clone_from(&arguments.vocabulary);
    options.clock = clock.clone();
    let mut session = whisper.begin(options)?;
    let begun = clock.now();
    let mut words: Vec<String> = Vec::new();
    let mut lag = Duration::ZERO;
    let mut take = |heard: Vec<Heard>| {
        for heard in heard {
            if arguments.show {
                println!("{:7.2} {heard:?}", clock.now().duration_since(begun).as_secs_f64());
            }
            if let Heard::Final(stretch) = heard {
                words.extend(stretch.words.into_iter().map(|word| word.text));
            }
        }
    };
    let mut fed = 0;
    while fed < samples.len() {
        let mut end = (fed + MESSAGE).min(samples.len());
        if arguments.paced {
            let due = begun + Duration::from_secs_f64(end as f64 / f64::from(SAMPLE_RATE));
            lag = lag.max(clock.now().saturating_duration_since(due));
            clock.wait_until(due);
            // What came meanwhile is taken with it, as the product does.
            let passed = clock.now().duration_since(begun).as_secs_f64();
            let came = (passed * f64::from(SAMPLE_RATE)) as usize / MESSAGE * MESSAGE;
            end = end.max(came.min(fed + MOST_AT_ONCE)).min(samples.len());
        }
        take(session.feed(&samples[fed..end])?);
        fed = end;
    }
    take(session.finish()?);
    let text = words.join(" ");
    Ok(Streamed { name: name.to_owned(), text, measures: session.measures(), lag })
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[expect(clippy::print_stdout, reason = "the lines are what the program is for")]
fn run(arguments: &Arguments) -> Result<(), Failure> {
    let whisper = Whisper::load(Path::new(&arguments.model), Slots::new(arguments.slots))?;
    let mut audio = Vec::new();
    for file in &arguments.files {
        audio.push((file.as_str(), samples(Path::new(file))?));
    }
    if arguments.joined {
        let silence = vec![0.0; SAMPLE_RATE as usize * 2];
        let samples: Vec<Vec<f32>> = audio.into_iter().map(|(_, samples)| samples).collect();
        audio = vec![("joined", samples.join(&silence[..]))];
    }
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let streamed = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..arguments.sessions)
            .map(|session| {
                let (whisper, audio) = (&whisper, &audio);
                scope.spawn(move || {
                    // The sessions do not all begin and pause together.
                    if arguments.paced {
                        std::thread::sleep(Duration::from_millis(370) * session as u32);
                    }
                    let files = audio.iter();
                    files
                        .map(|(name, samples)| stream(whisper, arguments, name, samples))
                        .collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        sessions.into_iter().flat_map(|session| session.join()).collect::<Result<Vec<_>, _>>()
    })?;
    let clock = begun.elapsed().as_secs_f64();
    let load = (cpu_seconds() - cpu) / clock;
    let mut all = Measures::default();
    let mut lag = Duration::ZERO;
    for line in streamed.iter().flatten() {
        let factor = line.measures.real_time_factor().unwrap_or_default();
        let (audio, work) = (line.measures.audio, line.measures.work);
        let (audio, work) = (audio.as_secs_f64(), work.as_secs_f64());
        println!("{}\t{audio:.3}\t{work:.3}\t{factor:.3}\t{}", line.name, line.text);
        all.add(&line.measures);
        lag = lag.max(line.lag);
    }
    let delay = |share| all.final_delay(share).unwrap_or_default().as_secs_f64();
    println!(
        "all\t{}\t{:.2}\t{:.2}\t{:.2}\t{:.2}\t{load:.2}\t{clock:.2}",
        all.final_words(),
        delay(0.5),
        delay(0.95),
        delay(1.0),
        lag.as_secs_f64()
    );
    Ok(())
}

fn main() -> ExitCode {
    match Arguments::parse().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}
