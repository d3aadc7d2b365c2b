//! Where sessions take the time from: the machine's clock, or a simulated one, on which what a
//! session costs and how late its finals are can be measured on a busy machine.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// A clock. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Simulated>>>);

/// The time at a moment, which the CPU time that the thread had then tells.
#[derive(Debug)]
struct Simulated {
    at: Instant,
    cpu: Duration,
}

impl Clock {
    /// A clock that goes on by the CPU time of the thread that asks it, and over pauses at once: on
    /// it a decode takes what it would take on a quiet machine. For one session on one thread.
    ///
    /// # Errors
    /// The system does not tell the CPU time of a thread.
    pub fn simulated() -> io::Result<Self> {
        let simulated = Simulated { at: Instant::now(), cpu: cpu_time()? };
        Ok(Self(Some(Arc::new(Mutex::new(simulated)))))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.as_ref().map_or_else(Instant::now, |simulated| lock(simulated).now())
    }

    /// Waits for a moment, if it has not passed. Blocks, unless the clock is simulated.
    pub fn wait_until(&self, moment: Instant) {
        let early = moment.saturating_duration_since(self.now());
        match &self.0 {
            Some(simulated) => lock(simulated).at += early,
            None => std::thread::sleep(early),
        }
    }
}

impl Simulated {
    fn now(&self) -> Instant {
        let cpu = cpu_time().unwrap_or(self.cpu);
        self.at + cpu.saturating_sub(self.cpu)
    }
}

fn lock(simulated: &Mutex<Simulated>) -> MutexGuard<'_, Simulated> {
    simulated.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_clock_goes_over_pauses_at_once_and_on_by_what_is_computed() {
        let clock = Clock::simulated().unwrap();
        let begun = clock.now();
        let hour = Duration::from_secs(3600);
        clock.wait_until(begun + hour);
        // A moment that has passed does not turn it back.
        clock.wait_until(begun);
        let waited = clock.now();
        assert!(waited - begun >= hour && waited - begun < hour + hour);
        while clock.now() - waited < Duration::from_millis(2) {
            std::hint::black_box(waited);
        }
    }
}
