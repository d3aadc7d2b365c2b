//! The process as others see it: signals, the service manager's watchdog, the end.
//!
//! A thread of its own looks after it. Whatever hangs elsewhere can neither swallow a signal nor
//! keep the process longer than `shutdown_timeout`, nor pass for health.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use portcullis_actors::{logging, metrics::METRICS, pulse};
use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::watch,
    time::{Instant, MissedTickBehavior, sleep_until},
};

use crate::notify::{self, Word};

/// What is put away after the connections have this long beyond `shutdown_timeout`.
const PUTTING_AWAY: Duration = Duration::from_secs(2);
/// The log has so long to take the last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A thread that has not run its tasks for so long hangs, where no watchdog asks for more.
const HANGS: Duration = Duration::from_secs(5);
/// How often threads are looked at, where no watchdog asks for more.
const LOOK: Duration = Duration::from_secs(1);

/// The exit code of a process that had to be ended because something in it hung.
const STUCK: i32 = 3;

/// The thread that runs the owners, as the log names it.
pub(crate) const OWNERS: &str = "the owners' thread";
/// The step of the end that the supervisor sees to, on that thread.
pub(crate) const CONNECTIONS: &str = "the connections";

/// What the process was asked for from outside.
#[derive(Debug, Clone, Default)]
struct Asked {
    /// How often everything was to be read again.
    reloads: u64,
    /// The signal that ends it.
    end: Option<&'static str>,
}

/// The way to the thread that looks after the process.
#[derive(Debug)]
pub(crate) struct Process {
    asked: watch::Receiver<Asked>,
    /// How many of the reloads have been taken up.
    reloads: u64,
    step: Step,
}

/// What the end waits for, for the log.
#[derive(Debug, Clone, Default)]
struct Step(Arc<Mutex<Option<&'static str>>>);

impl Step {
    fn set(&self, step: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
    }

    fn get(&self) -> &'static str {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(OWNERS)
    }

    /// What the end really waits for: connections are let go on a thread that may hang itself.
    fn blamed(&self) -> &'static str {
        let owners_hang =
            || pulse::silent(PUTTING_AWAY).iter().any(|silent| silent.thread == OWNERS);
        match self.get() {
            CONNECTIONS if owners_hang() => OWNERS,
            step => step,
        }
    }
}

/// What [`Process::next`] was woken for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// SIGHUP: read everything again.
    Reload,
    /// The name of the signal that ends the process.
    End(&'static str),
}

impl Process {
    /// Begins to look after the process. From now on no signal kills it without a word, and once
    /// it was told to end it does so within `shutdown_timeout` and two seconds, whatever hangs.
    ///
    /// # Errors
    /// The thread cannot be started or signals cannot be listened for.
    pub(crate) fn look_after(shutdown_timeout: Duration) -> io::Result<Self> {
        let (sender, asked) = watch::channel(Asked::default());
        let (begun, begins) = sync_channel(1);
        let step = Step::default();
        let caretaker = Caretaker {
            asked: sender,
            patience: shutdown_timeout + PUTTING_AWAY,
            step: step.clone(),
        };
        std::thread::Builder::new().name("process".into()).spawn(move || caretaker.run(&begun))?;
        begins.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        Ok(Self { asked, reloads: 0, step })
    }

    /// Resolves when something is wanted of the process; an end takes precedence over everything else.
    pub(crate) async fn next(&mut self) -> Wanted {
        let taken_up = self.reloads;
        let wanted = |asked: &Asked| asked.end.is_some() || asked.reloads > taken_up;
        match self.asked.wait_for(wanted).await {
            Ok(asked) => {
                self.reloads = asked.reloads;
                asked.end.map_or(Wanted::Reload, Wanted::End)
            }
            // The thread is gone only with the process.
            Err(_) => std::future::pending().await,
        }
    }

    /// Resolves when the process is to end, with the name of the signal.
    pub(crate) async fn end(&self) -> &'static str {
        let mut asked = self.asked.clone();
        match asked.wait_for(|asked| asked.end.is_some()).await {
            Ok(asked) => asked.end.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Notes what the end waits for; told in the log if it has to be cut short.
    pub(crate) fn waits_for(&self, step: &'static str) {
        self.step.set(step);
    }

    /// The same from another thread, when it is called.
    pub(crate) fn waits_for_later(&self, step: &'static str) -> impl FnOnce() + Send + use<> {
        let current = self.step.clone();
        move || current.set(step)
    }
}

struct Caretaker {
    asked: watch::Sender<Asked>,
    patience: Duration,
    step: Step,
}

impl Caretaker {
    fn run(self, begun: &SyncSender<io::Result<()>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(err) => return drop(begun.send(Err(err))),
        };
        runtime.block_on(async move {
            let signals = Signals::new();
            match signals {
                Ok(signals) => {
                    let _ = begun.send(Ok(()));
                    self.look_after(signals).await;
                }
                Err(err) => drop(begun.send(Err(err))),
            }
        });
    }

    async fn look_after(&self, mut signals: Signals) {
        let watchdog = notify::watchdog();
        let mut health = Health::new(watchdog);
        let mut look = tokio::time::interval(look_interval(watchdog));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deadline = None;
        loop {
            let overdue = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => self.asked.send_modify(|asked| asked.reloads += 1),
                    Signal::Nothing(name) => log::info!("{name} means nothing here"),
                    Signal::End(name) if deadline.is_none() => {
                        deadline = Some(Instant::now() + self.patience);
                        self.asked.send_modify(|asked| asked.end = Some(name));
                        notify::tell(Word::Stopping);
                    }
                    Signal::End(name) => end_now(format!("{name} again: ending at once"), 0),
                },
                () = overdue => end_now(
                    format!(
                        "shutdown_timeout is over and the end still waits for {}: ending without it",
                        self.step.blamed()
                    ),
                    STUCK,
                ),
                _ = look.tick() => health.look(watchdog.is_some()),
            }
        }
    }
}

/// Ends the process from whichever thread, whatever the others do.
#[expect(clippy::disallowed_methods, reason = "main may hang, which is why this is called")]
fn end_now(words: String, code: i32) -> ! {
    // What hangs may be the log.
    let (told, wait) = sync_channel(1);
    let _ = std::thread::Builder::new().name("last-words".into()).spawn(move || {
        log::warn!("{words}");
        logging::flush();
        let _ = told.send(());
    });
    let _ = wait.recv_timeout(LAST_WORDS);
    std::process::exit(code)
}

/// Half of what the service manager waits, as sd_watchdog_enabled(3) advises.
fn look_interval(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(LOOK, |interval| (interval / 2).max(Duration::from_millis(10)))
}

/// Whether workers and the owners' thread run their tasks.
struct Health {
    limit: Duration,
    hanging: Vec<String>,
}

impl Health {
    fn new(watchdog: Option<Duration>) -> Self {
        Self { limit: watchdog.unwrap_or(HANGS), hanging: Vec::new() }
    }

    /// Tells the service manager that nothing hangs, or the log what does.
    fn look(&mut self, watched: bool) {
        let silent = pulse::silent(self.limit);
        METRICS.tell_hanging(&silent);
        let hanging: Vec<String> = silent.iter().map(|silent| silent.thread.clone()).collect();
        if silent.is_empty() && watched {
            notify::tell(Word::Alive);
        }
        if hanging == self.hanging {
            return;
        }
        let names = silent.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        match (silent.is_empty(), watched) {
            (true, _) => log::warn!("no thread hangs any more"),
            (false, true) => {
                log::error!(
                    "hanging: {names}; the watchdog of the service manager is not told that all is well"
                );
            }
            (false, false) => log::error!("hanging: {names}"),
        }
        self.hanging = hanging;
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Reload,
    End(&'static str),
    /// It would kill a process that does not know it.
    Nothing(&'static str),
}

/// Each signal that would kill a process which does not know it, and is none of a fault.
fn known() -> Vec<(SignalKind, Signal)> {
    let numbered = SignalKind::from_raw;
    // Those that the C library does not need itself.
    let realtime = nix::libc::SIGRTMIN()..=nix::libc::SIGRTMAX();
    let realtime = realtime.map(|number| (numbered(number), Signal::Nothing("a realtime signal")));
    let named = [
        (SignalKind::hangup(), Signal::Reload),
        (SignalKind::terminate(), Signal::End("SIGTERM")),
        (SignalKind::interrupt(), Signal::End("SIGINT")),
        (SignalKind::quit(), Signal::End("SIGQUIT")),
        (numbered(nix::libc::SIGPWR), Signal::End("SIGPWR")),
        (SignalKind::user_defined1(), Signal::Nothing("SIGUSR1")),
        (SignalKind::user_defined2(), Signal::Nothing("SIGUSR2")),
        (SignalKind::alarm(), Signal::Nothing("SIGALRM")),
        (SignalKind::io(), Signal::Nothing("SIGIO")),
        (SignalKind::pipe(), Signal::Nothing("SIGPIPE")),
        (numbered(nix::libc::SIGVTALRM), Signal::Nothing("SIGVTALRM")),
        (numbered(nix::libc::SIGPROF), Signal::Nothing("SIGPROF")),
        (numbered(nix::libc::SIGXFSZ), Signal::Nothing("SIGXFSZ")),
        (numbered(nix::libc::SIGSTKFLT), Signal::Nothing("SIGSTKFLT")),
    ];
    named.into_iter().chain(realtime).collect()
}

struct Signals(Vec<(Stream, Signal)>);

impl Signals {
    fn new() -> io::Result<Self> {
        let streams = known().into_iter().map(|(kind, means)| Ok((signal(kind)?, means)));
        Ok(Self(streams.collect::<io::Result<_>>()?))
    }

    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            for (stream, means) in &mut self.0 {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*means);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_goes_before_a_reload_and_no_reload_is_told_twice() {
        let (sender, asked) = watch::channel(Asked::default());
        let mut process = Process { asked, reloads: 0, step: Step::default() };
        sender.send_modify(|asked| asked.reloads += 1);
        assert_eq!(process.next().await, Wanted::Reload);
        let (next, ()) = tokio::join!(process.next(), async {
            sender.send_modify(|asked| asked.reloads += 1);
            sender.send_modify(|asked| asked.end = Some("SIGTERM"));
        });
        assert_eq!(next, Wanted::End("SIGTERM"));
        assert_eq!(process.end().await, "SIGTERM");
    }
}
