//! Threads for work that blocks, started once and for good.
//!
//! Starting a thread fails when the machine or the service manager allows no further one, and a
//! change of the certificate or of the password must not depend on that. So what a change needs is
//! there from the start: one thread for the state ([`change`]) and a few for what is slow to judge
//! ([`run`]). Work waits for its turn; whoever asks bounds how much he asks for at once.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use tokio::sync::oneshot;

/// Threads that judge, hash and read: one bcrypt or one RSA key keeps one of them busy.
const WORKERS: usize = 4;

/// Why work gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// The limit of threads of the machine, the user or the service is reached.
    #[error(
        "no further thread can be started; raise the limit (TasksMax, pids.max, ulimit -u) or wait"
    )]
    NoThread,
    /// It panicked, which the log tells.
    #[error("it failed inside; the log says more")]
    Failed,
}

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take work in the order in which it comes.
#[derive(Debug)]
pub struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// Starts `count` threads, or as many as can be had. They end when the pool is dropped.
    ///
    /// # Errors
    /// Not even one can be started.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..count {
            let queue = queue.clone();
            let builder = thread::Builder::new().name(format!("{name}-{number}"));
            match builder.spawn(move || work(&queue)) {
                Ok(_) => {}
                Err(err) if number == 0 => return Err(err),
                Err(err) => {
                    log::warn!("{number} threads `{name}` run instead of {count}: {err}");
                    break;
                }
            }
        }
        Ok(Self { jobs })
    }

    /// Does `job` soon; nobody learns how it went.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        // The threads live as long as `self`.
        let _ = self.jobs.send(Box::new(job));
    }

    /// Does `job` and resolves with what it gives. Dropping the future before the job has begun
    /// calls it off.
    ///
    /// # Errors
    /// The job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (give, given) = oneshot::channel();
        self.submit(move || {
            if !give.is_closed() {
                let _ = give.send(job());
            }
        });
        given.await.map_err(|_| NotDone::Failed)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The panic is logged where it happens; whoever waits sees that the answer never comes.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// A pool that is started once in a process.
struct Shared {
    name: &'static str,
    count: usize,
    pool: OnceLock<Pool>,
}

static CHANGES: Shared = Shared { name: "state", count: 1, pool: OnceLock::new() };
static WORK: Shared = Shared { name: "work", count: WORKERS, pool: OnceLock::new() };

impl Shared {
    fn pool(&self) -> Result<&Pool, NotDone> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let started = Pool::start(self.name, self.count).map_err(|_| NotDone::NoThread)?;
        Ok(self.pool.get_or_init(|| started))
    }
}

/// Starts the threads, so that later nothing can fail for want of them.
///
/// # Errors
/// Not even one of each kind can be started.
pub fn start() -> Result<(), NotDone> {
    CHANGES.pool()?;
    WORK.pool().map(drop)
}

/// Does something on the thread that the state has for itself: reading and committing it, and the
/// keys that wait. One at a time, in order.
///
/// # Errors
/// See [`NotDone`].
pub async fn change<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    CHANGES.pool()?.run(job).await
}

/// Does something that blocks for a while: hashing, judging an upload, making a key, looking at
/// the disk. Not for what waits for a client or another machine.
///
/// # Errors
/// See [`NotDone`].
pub async fn run<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    WORK.pool()?.run(job).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_is_told_and_ends_no_thread() {
        let pool = Pool::start("test", 1).unwrap();
        let failed = pool.run(|| -> u32 { panic!("on purpose") }).await;
        assert_eq!(failed, Err(NotDone::Failed));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_that_nobody_waits_for_is_not_begun() {
        let pool = Pool::start("test", 1).unwrap();
        let (release, held) = channel::<()>();
        pool.submit(move || assert!(held.recv().is_err()));
        let (begun, was_begun) = channel::<()>();
        let _ = futures::poll!(Box::pin(pool.run(move || begun.send(()))));
        drop(release);
        pool.run(|| ()).await.unwrap();
        assert!(was_begun.try_recv().is_err());
    }
}
