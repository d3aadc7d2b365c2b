//! A spoken sentence in the forms that people have it in, as a file and as it comes: the sound is the
//! same, or what is wrong is told with the name of the codec. Made by ffmpeg and sox.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use portcullis_speech::{
    audio::{AudioError, AudioReader},
    recogniser::Cancel,
};

const SENTENCE: &str =
    "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav";
const DAY: Duration = Duration::from_secs(86_400);

/// A few bytes at a time, as a socket gives them.
struct Trickle(File);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(1001);
        self.0.read(&mut buffer[..count])
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    File,
    Live,
}

fn samples(path: &Path, door: Door) -> Result<Vec<f32>, AudioError> {
    let (file, cancel) = (File::open(path).expect("the file"), Cancel::default());
    let mut reader = match door {
        Door::File => AudioReader::open(file, DAY, &cancel)?,
        Door::Live => AudioReader::stream(Trickle(file), DAY, &cancel)?,
    };
    let mut all = Vec::new();
    while let Some(samples) = reader.next_samples()? {
        all.extend(samples);
    }
    Ok(all)
}

/// How loud each hundredth of a second is.
fn envelope(samples: &[f32]) -> Vec<f32> {
    let loudness = |part: &[f32]| (part.iter().map(|s| s * s).sum::<f32>() / 160.0).sqrt();
    samples.chunks_exact(160).map(loudness).collect()
}

/// 1 where the loudness of both goes up and down alike; codecs may shift it by a tenth of a second.
fn likeness(heard: &[f32], said: &[f32]) -> f32 {
    let (heard, said) = (envelope(heard), envelope(said));
    let energy = |of: &[f32]| of.iter().map(|s| s * s).sum::<f32>();
    let shifted = |by: usize| {
        let (late, early) =
            (heard.iter().skip(by).zip(&said), heard.iter().zip(said.iter().skip(by)));
        let sum = |(a, b): (&f32, &f32)| a * b;
        late.map(sum).sum::<f32>().max(early.map(sum).sum())
    };
    let best = (0..=10).map(shifted).fold(0.0, f32::max);
    best / (energy(&heard) * energy(&said)).sqrt().max(f32::MIN_POSITIVE)
}

struct Bench {
    folder: tempfile::TempDir,
    said: Vec<f32>,
    wrong: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let said = samples(Path::new(SENTENCE), Door::File).expect("the sentence");
        Self { folder: tempfile::tempdir().expect("a folder"), said, wrong: Vec::new() }
    }

    /// The sentence as ffmpeg writes it with these arguments, separated by blanks.
    fn ffmpeg(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let made = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y", "-i", SENTENCE])
            .args(arguments.split_whitespace())
            .arg(&path)
            .status();
        assert!(made.expect("ffmpeg").success(), "{name} {arguments}");
        path
    }

    fn written(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    fn check(&mut self, path: &Path, door: Door) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match samples(path, door) {
            Ok(heard) => {
                let like = likeness(&heard, &self.said);
                let longer = (heard.len() as f32 - self.said.len() as f32) / 16_000.0;
                if like < 0.95 || longer.abs() > 0.12 {
                    self.wrong.push(format!("{name} {door:?}: {like:.3}, {longer:.2} s longer"));
                }
            }
            Err(err) => self.wrong.push(format!("{name} {door:?}: {err}")),
        }
    }

    fn same_at_either_door(&mut self, path: &Path) {
        self.check(path, Door::File);
        self.check(path, Door::Live);
    }

    /// The sentence in each form, by name and arguments of ffmpeg, at either door.
    fn same_in(&mut self, forms: &[(&str, &str)]) {
        for (name, arguments) in forms {
            let path = self.ffmpeg(name, arguments);
            self.same_at_either_door(&path);
        }
    }

    fn done(self) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
    }
}

/// Patches what stands behind `mark`, `at` bytes later.
fn patched(path: &Path, mark: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = std::fs::read(path).expect("read");
    let place = bytes.windows(mark.len()).position(|bytes| bytes == mark).expect("the mark") + at;
    bytes[place..place + with.len()].copy_from_slice(with);
    bytes
}

#[test]
fn samples_of_either_byte_order_in_quicktime() {
    let mut bench = Bench::new();
    for codec in [
        "pcm_s16be",
        "pcm_s16le",
        "pcm_s24be",
        "pcm_s24le",
        "pcm_s32be",
        "pcm_s32le",
        "pcm_f32be",
        "pcm_f32le",
        "pcm_f64be",
        "pcm_f64le",
        "pcm_u8",
        "pcm_s8",
        "pcm_mulaw",
        "pcm_alaw",
    ] {
        let arguments = format!("-c:a {codec} -movflags +faststart");
        let path = bench.ffmpeg(&format!("{codec}.mov"), &arguments);
        bench.same_at_either_door(&path);
    }
    for (name, arguments) in [
        ("s24be-six-channels", "-c:a pcm_s24be -ac 6"),
        ("s16be-stereo-44100", "-c:a pcm_s16be -ac 2 -ar 44100"),
        // Beyond 65,535 Hz it is the second version of the description, with flags.
        ("s24be-96000", "-c:a pcm_s24be -ar 96000"),
        ("f32be-96000", "-c:a pcm_f32be -ar 96000"),
        ("s16le-96000", "-c:a pcm_s16le -ar 96000"),
        ("s32be-fragmented", "-c:a pcm_s32be -frag_duration 500000"),
    ] {
        let path =
            bench.ffmpeg(&format!("{name}.mov"), &format!("{arguments} -movflags +faststart"));
        bench.same_at_either_door(&path);
    }
    // The index at the end, for a job; and old writers say 1 where the size of a frame belongs.
    let path = bench.ffmpeg("end.mov", "-c:a pcm_s24be");
    bench.check(&path, Door::File);
    let old = patched(&path, b"stsz", 8, &[0, 0, 0, 1]);
    let old = bench.written("frames-of-one.mov", &old);
    bench.check(&old, Door::File);
    bench.done();
}

#[test]
fn opus_in_mp4_and_of_many_channels() {
    let mut bench = Bench::new();
    for (name, arguments) in [
        ("mono.mp4", "-ac 1 -strict -2 -movflags +faststart"),
        ("stereo.mp4", "-ac 2 -strict -2 -movflags +faststart"),
        ("fragmented.mp4", "-strict -2 -movflags +frag_keyframe+empty_moov"),
        ("telephone.mp4", "-ar 8000 -strict -2 -movflags +faststart"),
        ("long-packets.mp4", "-frame_duration 60 -strict -2 -movflags +faststart"),
        ("six.mp4", "-ac 6 -strict -2 -movflags +faststart"),
        ("six.ogg", "-ac 6"),
        ("six.webm", "-ac 6"),
        ("quad-long.ogg", "-af aformat=channel_layouts=quad -frame_duration 60"),
    ] {
        let path = bench.ffmpeg(name, &format!("-c:a libopus {arguments}"));
        bench.same_at_either_door(&path);
    }
    let path = bench.ffmpeg("end.mp4", "-c:a libopus -strict -2");
    bench.check(&path, Door::File);
    bench.done();
}

#[test]
fn plain_samples_and_more_in_matroska() {
    let mut bench = Bench::new();
    for codec in [
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s24be",
        "pcm_s32le",
        "pcm_f32le",
        "pcm_f64le",
        "pcm_u8",
        "pcm_mulaw",
        "pcm_alaw",
        "alac",
        "mp2",
        "flac",
        "libmp3lame",
        "libopus",
    ] {
        let path = bench.ffmpeg(&format!("{codec}.mka"), &format!("-c:a {codec}"));
        bench.same_at_either_door(&path);
    }
    let path = bench.ffmpeg("six.mkv", "-c:a pcm_s16le -ac 6 -ar 48000");
    bench.same_at_either_door(&path);
    bench.done();
}

#[test]
fn forms_of_other_houses() {
    let mut bench = Bench::new();
    bench.same_in(&[
        ("s16.aiff", "-c:a pcm_s16be"),
        ("s24.aiff", "-c:a pcm_s24be -ac 2 -ar 44100"),
        ("sowt.aiff", "-c:a pcm_s16le"),
        ("float.aiff", "-c:a pcm_f32be"),
        ("mulaw.aiff", "-c:a pcm_mulaw"),
        ("s16.caf", "-c:a pcm_s16be"),
        ("s24.caf", "-c:a pcm_s24le -ac 2"),
        ("eight.caf", "-c:a pcm_s8"),
        ("float.caf", "-c:a pcm_f64be"),
        ("alaw.caf", "-c:a pcm_alaw"),
        ("mulaw.au", "-c:a pcm_mulaw"),
        ("s16.au", "-c:a pcm_s16be -ar 44100"),
        ("float.au", "-c:a pcm_f32be"),
        ("layer-two.mp2", "-c:a mp2 -b:a 64k"),
        ("mp3-inside.wav", "-c:a libmp3lame"),
        ("layer-two-inside.wav", "-c:a mp2"),
        ("flac.ogg", "-c:a flac"),
    ]);
    let path = bench.ffmpeg("alac.caf", "-c:a alac");
    bench.check(&path, Door::File);
    bench.done();
}

#[test]
fn sizes_are_hints_in_every_plain_form() {
    let mut bench = Bench::new();
    let (aiff, caf, au) = (
        bench.ffmpeg("a.aiff", ""),
        bench.ffmpeg("a.caf", "-c:a pcm_s16le"),
        bench.ffmpeg("a.au", ""),
    );
    for (name, path, mark, at, size) in [
        ("zero.aiff", &aiff, &b"SSND"[..], 4, &[0; 4][..]),
        ("most.aiff", &aiff, b"SSND", 4, &[0xff; 4]),
        ("double.aiff", &aiff, b"SSND", 4, &[0x7f, 0xff, 0xff, 0xff]),
        ("unknown.caf", &caf, b"data", 4, &[0xff; 8]),
        ("zero.caf", &caf, b"data", 4, &[0; 8]),
        ("unknown.au", &au, b".snd", 8, &[0xff; 4]),
        ("zero.au", &au, b".snd", 8, &[0; 4]),
    ] {
        let bytes = patched(path, mark, at, size);
        let path = bench.written(name, &bytes);
        bench.same_at_either_door(&path);
    }
    bench.done();
}

#[test]
fn wavs_with_fields_left_wrong() {
    let mut bench = Bench::new();
    let plain = std::fs::read(SENTENCE).expect("the sentence");
    let with = |at: usize, bytes: &[u8]| {
        let mut wav = plain.clone();
        wav[at..at + bytes.len()].copy_from_slice(bytes);
        wav
    };
    let tagged = [&b"ID3\x03\0\0\0\0\0\x15TIT2\0\0\0\x0b\0\0\0tester-one"[..], &with(40, &[0; 4])];
    let mulaw = bench.ffmpeg("mulaw.wav", "-c:a pcm_mulaw");
    for (name, bytes) in [
        ("no-frame-size.wav", with(32, &[0, 0])),
        ("no-byte-rate.wav", with(28, &[0; 4])),
        ("behind-a-tag-and-without-a-size.wav", tagged.concat()),
        ("mulaw-of-16-bits.wav", patched(&mulaw, b"fmt ", 22, &[16, 0])),
    ] {
        let path = bench.written(name, &bytes);
        bench.same_at_either_door(&path);
    }
    bench.done();
}

#[test]
fn samples_in_several_chunks_are_read_to_the_last() {
    let mut bench = Bench::new();
    for (name, codec) in [("plain", "pcm_s16le"), ("mulaw", "pcm_mulaw")] {
        let path = bench.ffmpeg(&format!("{name}.wav"), &format!("-c:a {codec} -bitexact"));
        let wav = std::fs::read(&path).expect("read");
        let at = wav.windows(4).position(|name| name == b"data").expect("samples");
        let samples = &wav[at + 8..];
        let (first, second) = samples.split_at((samples.len() / 2) & !1);
        // What is written when a recording is taken up again: other chunks in between, one of them of
        // odd length, and a chunk of no samples.
        let chunk =
            |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes(), body].concat();
        let between =
            [chunk(b"LIST", b"INFO"), chunk(b"note", b"abc"), vec![0], chunk(b"data", b"")];
        let split =
            [&wav[..at], &chunk(b"data", first), &between.concat(), &chunk(b"data", second)];
        let path = bench.written(&format!("{name}-in-two.wav"), &split.concat());
        bench.same_at_either_door(&path);
        if codec == "pcm_mulaw" {
            // Chunks of odd length, with the byte that fills them up and without.
            for filled in [true, false] {
                let (first, second) = samples.split_at((samples.len() / 2) | 1);
                let fill: &[u8] = if filled { &[0] } else { &[] };
                let split = [&wav[..at], &chunk(b"data", first), fill, &chunk(b"data", second)];
                let path = bench.written(&format!("odd-{filled}.wav"), &split.concat());
                bench.same_at_either_door(&path);
            }
        }
    }
    bench.done();
}

#[test]
fn each_layer_of_mpeg_audio_is_told_by_its_frames() {
    let mut bench = Bench::new();
    bench.same_in(&[
        ("two.mp4", "-c:a mp2 -movflags +faststart"),
        ("two-fragmented.mp4", "-c:a mp2 -movflags +frag_keyframe+empty_moov"),
        ("three.mp4", "-c:a libmp3lame -movflags +faststart"),
        ("three.mkv", "-c:a libmp3lame"),
    ]);
    let path = bench.ffmpeg("two.mka", "-c:a mp2");
    let mistaken = patched(&path, b"A_MPEG/L2", 8, b"3");
    let path = bench.written("mistaken.mka", &mistaken);
    bench.same_at_either_door(&path);
    bench.done();
}

/// No encoder of it comes with Debian; what tells it from plain AAC stands in its description, and in
/// pieces of its frames that a decoder may leave out.
#[test]
fn the_core_of_he_aac_is_heard() {
    let mut bench = Bench::new();
    // Spectral band replication, and with it parametric stereo, over a core of 22,050 Hz.
    for (name, config) in [("he", [0x2b, 0x8a, 0x08, 0, 0]), ("he-v2", [0xeb, 0x8a, 0x08, 0, 0])] {
        for (form, mark, at) in
            [("m4a", &b"\x05\x80\x80\x80\x05"[..], 5), ("mka", b"\x63\xa2\x85", 3)]
        {
            let arguments = "-c:a aac -b:a 64k -ar 22050 -movflags +faststart";
            let path = bench.ffmpeg(&format!("{name}-core.{form}"), arguments);
            let described = patched(&path, mark, at, &config);
            let path = bench.written(&format!("{name}.{form}"), &described);
            bench.same_at_either_door(&path);
        }
    }
    bench.done();
}

#[test]
fn what_is_not_understood_is_named_with_its_remedy() {
    let bench = Bench::new();
    let stereo = "-ar 48000 -ac 2 -strict -2";
    for (name, arguments, expected) in [
        ("ac3.mkv", "-c:a ac3 -ar 48000", "AC-3"),
        ("eac3.mkv", "-c:a eac3 -ar 48000", "E-AC-3"),
        ("dts.mkv", &format!("-c:a dca {stereo}"), "DTS"),
        ("wma.mkv", "-c:a wmav2", "Windows Media Audio"),
        ("ac3.mp4", "-c:a ac3 -ar 48000 -movflags +faststart", "AC-3"),
        ("eac3.mp4", "-c:a eac3 -ar 48000 -movflags +faststart", "E-AC-3"),
        ("ima.mov", "-c:a adpcm_ima_qt -movflags +faststart", "IMA ADPCM"),
        ("ima.aiff", "-c:a adpcm_ima_qt", "IMA ADPCM"),
        ("ima.caf", "-c:a adpcm_ima_qt", "IMA ADPCM"),
        ("g722.wav", "-c:a g722", "G.722"),
        ("g726.wav", "-c:a adpcm_g726 -ar 8000", "G.726"),
        ("speex.spx", "-c:a libspeex", "Speex"),
        ("a.avi", "-c:a libmp3lame", "AVI"),
        ("a.flv", "-c:a libmp3lame -ar 44100", "Flash Video"),
        ("a.wma", "-c:a wmav2", "Windows Media"),
        ("a.ts", "-c:a aac", "MPEG transport stream"),
        ("a.ac3", "-c:a ac3 -ar 48000", "AC-3"),
        ("a.wv", "-c:a wavpack", "WavPack"),
        ("a.tta", "-c:a tta", "True Audio"),
    ] {
        let path = bench.ffmpeg(name, arguments);
        for door in [Door::File, Door::Live] {
            let err = samples(&path, door).expect_err(name);
            assert!(
                matches!(err, AudioError::Codec(_) | AudioError::Container(_)),
                "{name}: {err:?}"
            );
            let text = err.to_string();
            assert!(text.contains(expected) && text.contains("ffmpeg -i"), "{name}: {text}");
        }
    }
    for (name, bytes, expected) in [
        ("a.amr", &b"#!AMR\n\x3c\x91\x17\x16\xbe\x66\x78\0"[..], "AMR"),
        ("a.html", b"\n<!DOCTYPE html><title>404</title>", "web page"),
        ("a.mpg", b"\0\0\x01\xba\x44\0\x04\0\x04\x01", "MPEG program stream"),
    ] {
        let path = bench.written(name, bytes);
        let text = samples(&path, Door::Live).expect_err(name).to_string();
        assert!(text.contains(expected), "{name}: {text}");
    }
}

#[test]
fn a_film_without_sound_and_one_with_two_tracks() {
    let mut bench = Bench::new();
    let path = bench.ffmpeg(
        "silent.mp4",
        "-f lavfi -i testsrc=size=64x64:rate=5 -map 1:v -t 1 -c:v mpeg4 -movflags +faststart",
    );
    for door in [Door::File, Door::Live] {
        assert_eq!(samples(&path, door), Err(AudioError::NoTrack));
    }
    // A track that is understood is taken, wherever it stands.
    for name in ["two.mp4", "two.mkv"] {
        let path = bench
            .ffmpeg(name, "-map 0:a -map 0:a -c:a:0 ac3 -c:a:1 aac -ar 48000 -movflags +faststart");
        bench.same_at_either_door(&path);
    }
    // Another language or a commentary stands before it, and is not what most people hear.
    let path = bench.ffmpeg(
        "commented.mkv",
        "-f lavfi -i sine=frequency=300:duration=3 -map 1:a -map 0:a -c:a flac -disposition:a:0 0 -disposition:a:1 default",
    );
    bench.same_at_either_door(&path);
    bench.done();
}

#[test]
fn what_wants_its_end_first_is_refused_as_it_comes_and_says_so() {
    let bench = Bench::new();
    for (name, arguments) in
        [("end.m4a", "-c:a aac"), ("end.mov", "-c:a pcm_s16be"), ("alac.caf", "-c:a alac")]
    {
        let path = bench.ffmpeg(name, arguments);
        let err = samples(&path, Door::Live).expect_err(name);
        assert!(matches!(err, AudioError::IndexAtEnd(_)), "{name}: {err:?}");
        assert!(err.to_string().contains("post it as a job"), "{name}: {err}");
    }
}

#[test]
fn samples_that_are_no_numbers_are_told_and_not_taken_for_silence() {
    let bench = Bench::new();
    let path = bench.ffmpeg("float.wav", "-c:a pcm_f32le");
    let mut bytes = std::fs::read(&path).expect("read");
    let begin = bytes.len() - 16_000 * 4 * 6;
    for sample in bytes[begin..].chunks_exact_mut(4) {
        sample.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    let path = bench.written("nan.wav", &bytes);
    for door in [Door::File, Door::Live] {
        let err = samples(&path, door).expect_err("no numbers");
        assert!(err.to_string().contains("no numbers"), "{err}");
    }
}
