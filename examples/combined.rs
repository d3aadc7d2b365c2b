//! An appliance that combines a service of its own with built-in ones, on five ports: a status board for
//! everybody, the administration on a port of its own, both speech APIs and the monitoring. What stands on
//! which port is said in `examples/combined.toml`.
//!
//! ```sh
//! cargo run --example combined -- run --config examples/combined.toml --data-dir target/combined
//! curl http://localhost:8080/board
//! curl -k -u admin:admin https://localhost:8443/board -d '{"text": "Back at five."}'
//! ```

use std::{
    process::ExitCode,
    sync::{Arc, PoisonError, RwLock},
};

use actix_web::{
    HttpResponse,
    web::{self, Data},
};
use portcullis::{
    ApiError, Appliance, Authentication, By, Code, Endpoint, Json, Mount, Service, command_line,
};
use serde::{Deserialize, Serialize};

/// The longest notice, in bytes.
const LONGEST: usize = 200;

/// What the board says, and who has written it.
#[derive(Debug, Clone, Default, Serialize)]
struct Notice {
    text: String,
    by: String,
}

type Shown = RwLock<Notice>;

/// Everybody reads the board, below one name on the plain port.
struct Board(Arc<Shown>);

impl Service for Board {
    fn mounts(&self) -> Vec<Mount> {
        let shown = Data::from(self.0.clone());
        vec![Mount::new("/board", Authentication::Open, move |config| {
            config.app_data(shown.clone());
            Endpoint::new("").get(read).register(config);
        })]
    }
}

/// Only the administrator writes on it, below another name on the port of the administration.
struct BoardOffice(Arc<Shown>);

impl Service for BoardOffice {
    fn mounts(&self) -> Vec<Mount> {
        let shown = Data::from(self.0.clone());
        vec![Mount::new("/board", Authentication::Admin, move |config| {
            config.app_data(shown.clone());
            Endpoint::new("").get(read).post(write).register(config);
        })]
    }
}

/// `GET /board`
async fn read(shown: Data<Shown>) -> web::Json<Notice> {
    web::Json(shown.read().unwrap_or_else(PoisonError::into_inner).clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNotice {
    text: String,
}

/// `POST /board`
async fn write(
    shown: Data<Shown>,
    By(requester): By,
    Json(new): Json<NewNotice>,
) -> Result<HttpResponse, ApiError> {
    if new.text.len() > LONGEST {
        let text = format!("the board has room for {LONGEST} bytes, this is {}", new.text.len());
        return Err(ApiError::invalid(Code::new("notice-too-long"), Some("text"), text));
    }
    let notice = Notice { text: new.text, by: requester.user };
    *shown.write().unwrap_or_else(PoisonError::into_inner) = notice.clone();
    Ok(HttpResponse::Ok().json(notice))
}

fn main() -> ExitCode {
    let shown = Arc::<Shown>::default();
    let appliance = Appliance::new("combined", env!("CARGO_PKG_VERSION"))
        .service("board", Board(shown.clone()))
        .service("board-office", BoardOffice(shown));
    command_line(appliance)
}
