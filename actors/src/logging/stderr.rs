//! Standard error: written by a thread of its own, for whoever reads it may stop.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use super::{Outlet, line::Format, queue::Item};

/// How often a pipe that takes nothing and does not wait either is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// The thread looks up now and then though nothing waits; nothing hangs on it.
const IDLE: Duration = Duration::from_secs(3600);

/// Writes what waits, in its order, for as long as the process lives. A reader that stalls holds up
/// this thread alone.
pub(super) fn write(outlet: &Outlet, format: Format) {
    let mut left_out = 0;
    let mut is_cut = false;
    loop {
        let Some(item) = outlet.queue.next(IDLE) else { continue };
        let line = match item {
            Item::Line(line) => Some(line),
            Item::LeftOut(lines) => {
                left_out += lines;
                None
            }
        };
        if left_out > 0 {
            let notice = format.notice(&format!(
                "{left_out} lines were left out: standard error was not read in time"
            ));
            if put_line(&notice, &mut is_cut).is_ok() {
                left_out = 0;
            }
        }
        if let Some(line) = line
            && put_line(&line, &mut is_cut).is_err()
        {
            left_out += 1;
            outlet.count_left_out();
        }
        outlet.queue.done();
    }
}

/// Writes a line. `is_cut` tells whether the last one was cut short.
fn put_line(line: &str, is_cut: &mut bool) -> io::Result<()> {
    if *is_cut {
        put(b"\n").map_err(|(_, err)| err)?;
        *is_cut = false;
    }
    put(line.as_bytes()).map_err(|(written, err)| {
        *is_cut = written > 0;
        err
    })
}

/// Writes all bytes, or says how many it wrote and why no more. Past the lock of the standard
/// library, which somebody else who writes there would wait for.
fn put(bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match nix::unistd::write(io::stderr(), &bytes[written..]).map_err(io::Error::from) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            // Somebody who has the other end has made it so.
            Err(err) if err.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(err) => return Err((written, err)),
        }
    }
    Ok(())
}
