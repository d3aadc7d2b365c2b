//! The vendor's client for voice agents, `speechmatics-voice`, unchanged, with each of its presets.
//! It makes turns out of what the realtime API tells: by the ends of utterances, by its own clock,
//! or by `ForceEndOfUtterance`. Its models for the detection of voices and of turns are not
//! installed, as they are not by default; the presets that would use them do without.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::realtime::{realtime_setup, samples};
use crate::support::speech::{client_command, clients, said, sentence, words};

/// Speaks like a microphone, which goes on in silence until the last word was told and its turn has
/// ended, and prints what each preset told. `external` leaves it to its application to end turns;
/// this one does so when it has read the last word. Presets that send `ForceEndOfUtterance` give the
/// answer a second, so they do not share the machine.
const PYTHON: &str = r#"
import asyncio, json, sys, time
from speechmatics.voice import AgentServerMessageType as Kind
from speechmatics.voice import VoiceAgentClient, VoiceAgentConfigPreset
url, audio = sys.argv[1:]
BYTES_PER_SECOND, PIECE = 32_000, 640
# Sessions that share a busy machine are behind by several times what the sentence lasts.
PATIENCE = 45
speech = open(audio, "rb").read()
async def talk(preset):
    client = VoiceAgentClient(api_key="any", url=url, preset=preset)
    heard = {kind: [] for kind in Kind}
    for kind in Kind:
        client.on(kind, heard[kind].append)
    await client.connect()
    begun, sent = time.monotonic(), 0
    async def say(piece):
        nonlocal sent
        await client.send_audio(piece)
        sent += len(piece)
        await asyncio.sleep(begun + sent / BYTES_PER_SECOND - time.monotonic())
    def text(kind):
        return " ".join(s["text"] for message in heard[kind] for s in message["segments"])
    for at in range(0, len(speech), PIECE):
        await say(speech[at:at + PIECE])
    asked = preset != "external"
    for _ in range(PATIENCE * BYTES_PER_SECOND // PIECE):
        if not asked and "he was" in text(Kind.ADD_PARTIAL_SEGMENT):
            client.finalize()
            asked = True
        if heard[Kind.END_OF_TURN] and "he was" in text(Kind.ADD_SEGMENT):
            break
        await say(bytes(PIECE))
    for _ in range(BYTES_PER_SECOND // PIECE):
        await say(bytes(PIECE))
    await client.disconnect()
    return preset, {
        "text": text(Kind.ADD_SEGMENT),
        "partials": len(heard[Kind.ADD_PARTIAL_SEGMENT]),
        "begun": len(heard[Kind.START_OF_TURN]),
        "ended": len(heard[Kind.END_OF_TURN]),
        "errors": heard[Kind.ERROR],
        "warnings": [warning.get("feature") for warning in heard[Kind.WARNING]],
        "over": len(heard[Kind.END_OF_TRANSCRIPT]),
    }
async def main():
    presets = VoiceAgentConfigPreset.list_presets()
    forcing = lambda preset: VoiceAgentConfigPreset.load(preset).end_of_turn_config.use_forced_eou
    told = await asyncio.gather(*(talk(preset) for preset in presets if not forcing(preset)))
    told += [await talk(preset) for preset in presets if forcing(preset)]
    print(json.dumps(dict(told)))
asyncio.run(main())
"#;

const SENTENCE: &str = "Had he married a more amiable woman, he might have been made still more respectable than he was.";

/// How many words two texts have in common, in the same order.
fn common(one: &[String], other: &[String]) -> usize {
    let mut most = vec![0; other.len() + 1];
    for word in one {
        let mut before = 0;
        for (index, expected) in other.iter().enumerate() {
            let here = if word == expected { before + 1 } else { most[index].max(most[index + 1]) };
            before = std::mem::replace(&mut most[index + 1], here);
        }
    }
    most[other.len()]
}

#[test]
fn every_preset_of_the_voice_client_hears_a_turn_and_its_end() {
    let service = realtime_setup().start();
    let raw = service.path().join("sentence.raw");
    std::fs::write(&raw, samples(&sentence())).expect("written");
    let url = service.url("wss", "/v2").replacen("http", "ws", 1);
    let output = client_command(&clients().join("venv/bin/python"), &service)
        .args(["-W", "ignore", "-c", PYTHON, &url])
        .arg(&raw)
        .output()
        .expect("python");
    let told: BTreeMap<String, Value> = serde_json::from_str(&said(output)).expect("JSON");
    let presets: Vec<_> = told.keys().map(String::as_str).collect();
    let all = ["adaptive", "captions", "external", "fast", "fixed", "scribe", "smart_turn"];
    assert_eq!(presets, all);
    for (preset, told) in &told {
        let heard = words(told["text"].as_str().expect("a text"));
        let least = match preset.as_str() {
            // It waits for 0.7 s of what follows a word.
            "captions" => 13,
            // They wait for 1.4 s less what the last partial was late: on a busy machine a pause between
            // two partials is the end of a turn, and words that come later than a second after it are
            // left out.
            "adaptive" | "smart_turn" => 9,
            // Its first words are final a second after they were said, and without what follows them the
            // small model may take "Had he married a" for "How to marry the".
            _ => 14,
        };
        assert!(heard.len() <= 22 && common(&heard, &words(SENTENCE)) >= least, "{preset}: {told}");
        assert!(told["begun"].as_u64() >= Some(1), "{preset}: {told}");
        assert!(told["ended"].as_u64() >= Some(1), "{preset}: {told}");
        // Sessions that share the machine may be behind, and make no partials then.
        let alone = ["adaptive", "external", "smart_turn"].contains(&preset.as_str());
        assert!(!alone || told["partials"].as_u64() >= Some(1), "{preset}: {told}");
        assert_eq!(told["errors"], Value::Array(Vec::new()), "{preset}: {told}");
        // Speakers are not told apart, and each preset asks for them.
        assert!(told["warnings"].to_string().contains("\"diarization\""), "{preset}: {told}");
        // It waits five seconds for it, and goes then.
        assert_eq!(told["over"].as_u64(), Some(1), "{preset}: {told}");
    }
}
