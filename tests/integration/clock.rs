//! What a wall clock that jumps does, and what it does not do.

use nix::errno::Errno;

use crate::support::{seconds, service::Service, shim::Shim, wait_until_blocking};

#[test]
fn a_step_of_the_clock_is_told() {
    let (shim, installation) = (Shim::new(), Service::portcullis().prepare());
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    let service = installation.try_start_by(command).map_err(|refused| refused.stderr).unwrap();
    for (off_by, told) in [(86_400, "set forward by"), (-86_400, "set back by")] {
        shim.set_clock_off_by(off_by);
        wait_until_blocking("the step is told", seconds(10), || service.log().contains(told));
    }
}

#[test]
fn the_disk_of_the_shim_fails_and_works_again() {
    let (shim, installation) = (Shim::new(), Service::portcullis().prepare());
    shim.break_disk(Errno::EROFS);
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    let Err(refused) = installation.try_start_by(command) else {
        panic!("it started on a disk that it cannot write")
    };
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    shim.mend_disk();
    let mut command = refused.installation.command();
    shim.attach(&mut command, &refused.installation.data_dir());
    assert!(refused.installation.try_start_by(command).is_ok());
}
