//! Time that passed, whatever the wall clock says.
//!
//! A wall clock is wrong after a cold start without a battery, and jumps when somebody mends it.
//! Ages of what cannot be had again (transcripts, keys that wait for their certificates) are
//! therefore counted in [`running_time`]: the time for which this data directory was in use, over
//! all starts. It never goes back and never jumps. Time while the appliance is off does not count:
//! a thing rather lives too long.
//!
//! A thread compares the wall clock with the time since boot each second and tells of steps.

use std::{
    fmt, fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{files::read_at_most, metrics::METRICS};

/// A smaller step is that of a clock that is being kept right.
const STEP: Duration = Duration::from_secs(10);
/// How often the wall clock is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the running time is written down; a crash loses as much at most.
const SAVE: Duration = Duration::from_secs(60);
/// The file below the data directory.
const FILE: &str = "running-time.json";
const MAX_FILE: u64 = 4096;

/// A step of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// How many there were since the start, this one included.
    pub count: u64,
    /// Seconds; negative where the clock was set back.
    pub by: i64,
    /// The wall clock after it.
    pub at: OffsetDateTime,
    /// [`since_boot`] when it was noticed.
    pub noticed: Duration,
}

impl Jump {
    /// How long ago it was noticed.
    #[must_use]
    pub fn age(&self) -> Duration {
        since_boot().saturating_sub(self.noticed)
    }
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = humantime::format_duration(Duration::from_secs(self.by.unsigned_abs()));
        let direction = if self.by < 0 { "back" } else { "forward" };
        write!(f, "the clock was set {direction} by {length}")
    }
}

/// Both times at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For people: the wall clock may be wrong.
    pub wall: OffsetDateTime,
    /// For ages, see [`running_time`].
    pub running: Duration,
}

impl Moment {
    #[must_use]
    pub fn now() -> Self {
        Self { wall: OffsetDateTime::now_utc(), running: running_time() }
    }
}

struct Clock {
    jumps: watch::Sender<Option<Jump>>,
    started: Mutex<Option<Started>>,
}

/// Where the running time counts from.
#[derive(Debug, Clone)]
struct Started {
    /// Time since boot at the start.
    boot: Duration,
    /// Running time of all starts before.
    before: Duration,
    path: PathBuf,
}

static CLOCK: LazyLock<Clock> =
    LazyLock::new(|| Clock { jumps: watch::channel(None).0, started: Mutex::new(None) });

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    running_seconds: u64,
    #[serde(with = "time::serde::rfc3339")]
    wall_clock: OffsetDateTime,
}

/// Time since the machine was booted, sleep included. Nobody can set it.
#[must_use]
pub fn since_boot() -> Duration {
    // Linux has had this clock since 2.6.39; it cannot fail.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// The time for which the data directory was in use, over all starts; zero before [`start`].
#[must_use]
pub fn running_time() -> Duration {
    let started = CLOCK.started.lock().unwrap_or_else(PoisonError::into_inner);
    started.as_ref().map_or(Duration::ZERO, Started::running_time)
}

/// The newest step of the wall clock, and those to come.
#[must_use]
pub fn jumps() -> watch::Receiver<Option<Jump>> {
    CLOCK.jumps.subscribe()
}

/// Begins to count the running time of `data_dir` and to watch the wall clock. Blocks. A file that
/// is missing or damaged counts as no time at all: what is kept there is then kept for longer.
///
/// # Errors
/// The thread cannot be started.
pub fn start(data_dir: &Path) -> io::Result<()> {
    let path = data_dir.join(FILE);
    let saved = match read_saved(&path) {
        Ok(saved) => saved,
        Err(err) => {
            log::warn!(
                "{} cannot be read ({err}); ages are counted anew, and what is kept is kept for longer",
                path.display()
            );
            None
        }
    };
    let now = OffsetDateTime::now_utc();
    if let Some(saved) = &saved
        && saved.wall_clock - now > STEP
    {
        // Forward it may have gone by itself, while nothing ran.
        tell((now - saved.wall_clock).whole_seconds());
    }
    let before = Duration::from_secs(saved.map_or(0, |saved| saved.running_seconds));
    let started = Started { boot: since_boot(), before, path };
    *CLOCK.started.lock().unwrap_or_else(PoisonError::into_inner) = Some(started.clone());
    std::thread::Builder::new().name("clock".into()).spawn(move || watch_clock(&started))?;
    Ok(())
}

/// Writes the running time down, at the end of the process. Blocks.
pub fn save() {
    let started = CLOCK.started.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(started) = started {
        started.save();
    }
}

impl Started {
    fn running_time(&self) -> Duration {
        self.before + since_boot().saturating_sub(self.boot)
    }

    /// A disk that cannot be written is told by those who have more to lose.
    fn save(&self) {
        if let Err(err) = self.try_save() {
            log::debug!("{} cannot be written: {err}", self.path.display());
        }
    }

    fn try_save(&self) -> io::Result<()> {
        let saved = Saved {
            running_seconds: self.running_time().as_secs(),
            wall_clock: OffsetDateTime::now_utc(),
        };
        let fresh = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new();
        let mut file = file.create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        serde_json::to_writer(&mut file, &saved)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)
    }
}

fn read_saved(path: &Path) -> io::Result<Option<Saved>> {
    let Some(bytes) = read_at_most(path, MAX_FILE)? else { return Ok(None) };
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Both clocks at one look.
#[derive(Debug, Clone, Copy)]
struct Look {
    wall: SystemTime,
    boot: Duration,
}

impl Look {
    fn now() -> Self {
        Self { wall: SystemTime::now(), boot: since_boot() }
    }

    /// The seconds by which the wall clock moved more than time did since `before`, if that is a
    /// step.
    fn step_since(self, before: Self) -> Option<i64> {
        let passed = self.boot.saturating_sub(before.boot).as_secs_f64();
        let moved = match self.wall.duration_since(before.wall) {
            Ok(forward) => forward.as_secs_f64(),
            Err(back) => -back.duration().as_secs_f64(),
        };
        let step = moved - passed;
        // Far within i64: clocks count seconds in one.
        (step.abs() >= STEP.as_secs_f64()).then_some(step.round() as i64)
    }
}

fn watch_clock(started: &Started) {
    let mut before = Look::now();
    let mut saved = since_boot();
    started.save();
    loop {
        std::thread::sleep(LOOK);
        let now = Look::now();
        if let Some(by) = now.step_since(before) {
            tell(by);
            started.save();
        }
        before = now;
        if now.boot.saturating_sub(saved) >= SAVE {
            saved = now.boot;
            started.save();
        }
    }
}

fn tell(by: i64) {
    METRICS.clock_jumps.inc();
    let (at, noticed) = (OffsetDateTime::now_utc(), since_boot());
    CLOCK.jumps.send_modify(|jump| {
        let count = jump.map_or(0, |jump| jump.count) + 1;
        let new = Jump { count, by, at, noticed };
        log::warn!("{new}; nothing is cleared away because of it");
        *jump = Some(new);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_the_wall_clock_moved_beyond_the_time_that_passed() {
        let before = Look { wall: SystemTime::UNIX_EPOCH + LOOK * 100, boot: LOOK * 50 };
        let after = |wall: i64, boot: u64| {
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(wall).unwrap());
            Look { wall, boot: Duration::from_secs(boot) }.step_since(before)
        };
        assert_eq!(after(101, 51), None, "time passes");
        assert_eq!(after(109, 51), None, "a clock that is kept right");
        assert_eq!(after(3700, 3650), None, "a machine that slept");
        assert_eq!(after(3701, 51), Some(3600));
        assert_eq!(after(1, 51), Some(-100));
    }

    #[test]
    fn the_running_time_goes_on_after_a_restart_and_starts_anew_without_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let hour = Duration::from_secs(3600);
        let started = Started { boot: since_boot(), before: hour, path: path.clone() };
        started.save();
        let saved = read_saved(&path).unwrap().unwrap();
        assert!((3600..3660).contains(&saved.running_seconds), "{saved:?}");
        fs::write(&path, "{").unwrap();
        assert!(read_saved(&path).is_err());
        fs::remove_file(&path).unwrap();
        assert!(read_saved(&path).unwrap().is_none());
    }
}
