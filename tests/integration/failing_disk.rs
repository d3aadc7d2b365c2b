//! A disk that fails while the appliance runs: everything goes on serving, nothing changes, and
//! everybody who asks is told, from the first write that failed until one succeeds.

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::service::Service;
use crate::support::shim::Shim;
use crate::support::{seconds, wait_until};

async fn health(admin: &Admin) -> Value {
    admin.get("/v2/management/health").await.json()
}

#[tokio::test]
async fn every_way_in_which_a_disk_fails_is_told_by_its_name_and_until_it_is_over() {
    let (shim, installation) = (Shim::new(), Service::portcullis().prepare());
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    let service = installation.try_start_by(command).map_err(|refused| refused.stderr).unwrap();
    let admin = service.admin();
    for (errno, word, status) in [
        (Errno::EROFS, "read-only", 500),
        (Errno::EIO, "input/output", 500),
        (Errno::ESTALE, "file server", 500),
        (Errno::EDQUOT, "quota", 507),
        (Errno::ENOSPC, "no space is left", 507),
    ] {
        assert_eq!(health(&admin).await["status"], "healthy", "before {errno}");
        shim.break_disk(errno);
        let change = json!({ "enable_insecure_ports": false });
        let refused = admin.post("/v2/security/insecureports", &change).await;
        assert_eq!(refused.status, status, "{}", refused.text());
        // Log-in and reading go on.
        assert_eq!(admin.about_status().await, 200);
        assert_eq!(admin.with_password("wrong").about_status().await, 401);
        let now = health(&admin).await;
        assert_eq!(now["storage"]["status"], "unhealthy", "at once: {now}");
        for component in ["storage", "audit", "log"] {
            wait_until(word, seconds(10), async || {
                let now = health(&admin).await;
                let errors = now[component]["errors"].to_string();
                now[component]["status"] == "unhealthy" && errors.contains(word)
            })
            .await;
        }
        let about = admin.get("/v2/management/host/about").await.json();
        let codes = about["warnings"].to_string();
        for code in ["state-not-written", "audit-not-written", "log-not-written"] {
            assert!(codes.contains(code), "{code} is not in {codes}");
        }
        // What waits in memory is part of the record.
        let audit = admin.get("/v2/security/audit?limit=2").await.text();
        assert!(audit.contains("insecureports") && audit.contains("\"failed\""), "{audit}");

        shim.mend_disk();
        // Nobody changes anything meanwhile.
        wait_until("it is over", seconds(15), async || health(&admin).await["status"] == "healthy")
            .await;
        let file = service.data_dir().join("audit/audit.jsonl");
        let record = std::fs::read_to_string(file).expect("the record");
        let of_now = record.lines().rev().take(2).collect::<Vec<_>>().join("\n");
        assert!(of_now.contains("POST /v2/security/insecureports"), "{of_now}");
        assert!(of_now.contains("could not be written"), "{of_now}");
        admin.set_insecure_ports(true).await;
    }
    let log = service.log();
    assert_eq!(log.matches("the state cannot be written").count(), 5, "told once each: {log}");
    assert!(log.contains("the audit record can be written again"), "{log}");
}
