//! Room on the disk: the state always has some, and what strangers send leaves the reserve.

use crate::support::curl::curl_as;
use crate::support::disk::{fill, free, on_a_small_disk, seen_by};
use crate::support::service::Service;

#[test]
fn the_state_can_be_changed_on_a_disk_that_is_full() {
    let setup = Service::portcullis().quiet();
    let Some(setup) = on_a_small_disk(setup, "data", 64, None) else { return };
    let service = setup.start();
    let data = seen_by(&service, "data");
    fill(&data.join("filler"));
    assert_eq!(free(&data), 0);
    let url = |path: &str| service.url("https", path);
    let password = url("/v2/security/adminpassword");
    let mut current = "admin".to_owned();
    // More changes than revisions are kept: what a change takes, an old revision gives back.
    for round in 0..25 {
        let next = format!("password-{round}");
        let body = format!("{{\"password\": \"{next}\"}}");
        curl_as(&current, &["-d", &body, &password]).expect(200);
        curl_as(&next, &[&password]).expect(200);
        current = next;
        // Whatever room there is, somebody else takes it.
        fill(&data.join(format!("filler-{round}")));
    }
    curl_as(&current, &["-X", "DELETE", &url("/v2/security/reset")]).expect(200);
    curl_as("admin", &[&password]).expect(200);
    let kept = std::fs::metadata(data.join("state/reserve")).expect("still some in advance").len();
    assert!(kept >= 256 << 10, "{kept} bytes");

    // With room again, all of it is kept again from the next change on.
    for entry in std::fs::read_dir(&data).expect("the data directory").flatten() {
        if entry.file_name().to_string_lossy().starts_with("filler") {
            std::fs::remove_file(entry.path()).expect("remove a filler");
        }
    }
    curl_as("admin", &["-d", "{\"password\": \"roomy\"}", &password]).expect(200);
    let kept = std::fs::metadata(data.join("state/reserve")).expect("all of it").len();
    assert_eq!(kept, 8 << 20);
}
