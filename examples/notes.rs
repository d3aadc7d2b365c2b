//! An appliance with a service that uses all that a service can have: a table of its own in the
//! configuration, a place on the disk, health, figures, events, errors that programs can read, a part of
//! the API document, and several services of its kind.
//!
//! ```sh
//! cargo run --example notes -- run --unprivileged --data-dir target/notes
//! curl -k -u admin:admin https://localhost:8443/notes/ -d '{"text": "Water the plants."}'
//! ```
//!
//! A configuration may say more:
//!
//! ```toml
//! [notes]
//! most = 100                # notes that are kept; 1000 if it says nothing
//!
//! [[service]]               # more notes, for somebody else
//! kind = "notes"
//! name = "minutes"
//! prefix = "/minutes"
//! ```

use std::{
    fmt,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data, ServiceConfig},
};
use futures::future::LocalBoxFuture;
use portcullis::{
    ApiError, Appliance, Authentication, By, Code, ConfigError, Door, Endpoint, Folder, Health,
    Json, Kind, Mount, Service, Start, StartError, Tables, command_line,
    events::{EventLog, Next, ServiceEvent},
    figures::{EncodeLabelSet, Family, Gauge},
    is_prefix, note_change,
    sse::{self, Message},
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The longest note, in bytes.
const LONGEST: usize = 10_000;
/// Bytes of the disk that notes leave free.
const RESERVE: u64 = 16 << 20;

const TOO_LONG: Code = Code::new("note-too-long");
const TOO_MANY: Code = Code::new("too-many-notes");
const NO_SUCH_NOTE: Code = Code::new("no-such-note");

/// What one service of this kind is told.
struct Settings {
    /// Where it answers.
    prefix: String,
    /// Notes that are kept.
    most: usize,
}

/// The kind of service.
#[derive(Default)]
struct Notes {
    kept: Family<Labels, Gauge>,
    /// Whether the figures have been added: once, for all services of the kind.
    registered: Arc<OnceLock<()>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    service: String,
}

impl Kind for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn several(&self) -> bool {
        true
    }

    fn components(&self) -> &'static [&'static str] {
        &["notes"]
    }

    fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError> {
        let table = &mut tables.own;
        let prefix = match table.string("prefix")? {
            None => "/notes".to_owned(),
            Some(found) if is_prefix(&found.value) && !found.value.is_empty() => found.value,
            Some(found) => {
                let reason = format!("`{}` is not a prefix such as \"/minutes\"", found.value);
                return Err(table.error_at("prefix", found.offset, reason));
            }
        };
        let most = table.integer("most", 1..=1_000_000)?.unwrap_or(1000);
        let settings = Settings { prefix, most };
        let (kept, registered) = (self.kept.clone(), self.registered.clone());
        Ok(Start::new(move |door| async move {
            registered.get_or_init(|| {
                door.figures(|registry| registry.register("notes_kept", "Notes", kept.clone()));
            });
            let gauge = kept.get_or_create_owned(&Labels { service: door.name().to_owned() });
            // Opening the database blocks.
            web::block(move || Store::open(&door, settings, gauge)).await?.map(Running)
        }))
    }
}

/// The service once it runs.
struct Running(Data<Store>);

impl Service for Running {
    fn mounts(&self) -> Vec<Mount> {
        let store = self.0.clone();
        vec![Mount::new(&self.0.settings.prefix, Authentication::Admin, move |config| {
            routes(store.clone(), config);
        })]
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        Some(self.0.document())
    }

    fn health(&self) -> LocalBoxFuture<'_, Option<Health>> {
        let store = self.0.clone();
        Box::pin(async move {
            let count = web::block(move || store.count()).await;
            let health = Health::good();
            Some(match count {
                Ok(Ok(count)) if count >= self.0.settings.most => {
                    health.with_warning(format!("all {count} notes are taken; delete some"))
                }
                Ok(Ok(_)) => health,
                Ok(Err(err)) => health.with_error(format!("the notes cannot be read: {err}")),
                Err(_) => health.with_error("the appliance ends"),
            })
        })
    }

    fn folders(&self) -> Vec<Folder> {
        vec![self.0.folder.clone()]
    }
}

fn routes(store: Data<Store>, config: &mut ServiceConfig) {
    config.app_data(store);
    Endpoint::new("").get(list).post(add).register(config);
    Endpoint::new("/").get(list).post(add).register(config);
    Endpoint::new("/page").get(page).register(config);
    Endpoint::new("/changes").get(changes).register(config);
    Endpoint::new("/{id:[0-9]{1,18}}").get(read).delete(delete).register(config);
}

#[derive(Debug, Serialize)]
struct Note {
    id: i64,
    text: String,
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

/// `POST <prefix>/`
async fn add(
    store: Data<Store>,
    request: HttpRequest,
    By(requester): By,
    Json(new): Json<NewNote>,
) -> Result<HttpResponse, ApiError> {
    if new.text.len() > LONGEST {
        let text = format!("a note may have {LONGEST} bytes, this one has {}", new.text.len());
        return Err(ApiError::invalid(TOO_LONG, Some("text"), text));
    }
    let (name, events) = (store.name.clone(), store.events.clone());
    let note = blocking(move || store.add(&new.text, &requester.user)).await??;
    // What was written is nobody's business in the record.
    note_change(&request, format!("note {} of {name}", note.id));
    events.publish(ServiceEvent::new("note-added").with("service", name).with("note", note.id));
    Ok(HttpResponse::Created().json(note))
}

/// `GET <prefix>/`
async fn list(store: Data<Store>) -> Result<HttpResponse, ApiError> {
    let notes = blocking(move || store.list()).await?.map_err(failed)?;
    Ok(HttpResponse::Ok().json(json!({ "notes": notes })))
}

/// `GET <prefix>/{id}`
async fn read(store: Data<Store>, id: web::Path<i64>) -> Result<HttpResponse, ApiError> {
    let note = blocking(move || store.read(*id)).await?.map_err(failed)?;
    Ok(HttpResponse::Ok().json(note.ok_or_else(no_such_note)?))
}

/// `DELETE <prefix>/{id}`
async fn delete(store: Data<Store>, id: web::Path<i64>) -> Result<HttpResponse, ApiError> {
    match blocking(move || store.delete(*id)).await?.map_err(failed)? {
        0 => Err(no_such_note()),
        _ => Ok(HttpResponse::NoContent().finish()),
    }
}

/// `GET <prefix>/changes`: notes as they are added. Ends when its generation drains, so that a change of
/// the certificate does not wait for it; clients come back by themselves.
async fn changes(store: Data<Store>, request: HttpRequest) -> HttpResponse {
    let subscription = store.events.subscribe(None);
    let messages = sse::unfold(subscription, |mut subscription| async move {
        loop {
            let Next::Event(event) = subscription.next().await? else { continue };
            if event.kind.name() == "note-added" {
                let text = serde_json::to_string(&*event).unwrap_or_default();
                return Some((Message::event("note-added", Some(event.id), &text), subscription));
            }
        }
    });
    sse::answer(&request, messages)
}

/// `GET <prefix>/page`
async fn page(store: Data<Store>) -> Result<HttpResponse, ApiError> {
    let notes = blocking(move || store.list()).await?.map_err(failed)?;
    let item =
        |note: &Note| format!("<li>{} <small>{}</small></li>", Plain(&note.text), Plain(&note.by));
    let items: String = notes.iter().map(item).collect();
    let page = format!("<!doctype html><title>Notes</title><h1>Notes</h1><ul>{items}</ul>");
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .body(page))
}

/// A text as HTML shows it.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            other => write!(f, "{other}"),
        })
    }
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    web::block(work).await.map_err(|_| ApiError::Unavailable)
}

fn failed(err: rusqlite::Error) -> ApiError {
    log::error!("notes: {err}");
    ApiError::Internal(format!("the notes cannot be read or written: {err}"))
}

fn no_such_note() -> ApiError {
    ApiError::missing(NO_SUCH_NOTE, "there is no note of this number".into())
}

/// The notes, in a database of their own.
struct Store {
    name: String,
    settings: Settings,
    folder: Folder,
    events: EventLog,
    gauge: Gauge,
    database: Mutex<Connection>,
}

impl Store {
    /// Opens the database, and makes it if need be. Blocks.
    fn open(door: &Door, settings: Settings, gauge: Gauge) -> Result<Data<Self>, StartError> {
        let path = door.folder()?;
        let file = path.join("notes.sqlite");
        // Nobody else on this machine is to read it, nor what SQLite puts beside it.
        OpenOptions::new().create(true).append(true).mode(0o600).open(&file)?;
        let database = Connection::open(file)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, by TEXT NOT NULL)",
        )?;
        let name = door.name().to_owned();
        let folder = Folder {
            name: name.clone(),
            path,
            reserve: RESERVE,
            remedy: "notes may soon be refused: make room".into(),
        };
        let (events, database) = (door.events().clone(), Mutex::new(database));
        let store = Self { name, settings, folder, events, gauge, database };
        store.show(store.count()?);
        Ok(Data::new(store))
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, count: usize) {
        self.gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn count(&self) -> rusqlite::Result<usize> {
        let count = "SELECT count(*) FROM notes";
        let count: i64 = self.database().query_row(count, [], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn add(&self, text: &str, by: &str) -> Result<Note, ApiError> {
        let most = self.settings.most;
        let count = self.count().map_err(failed)?;
        if count >= most {
            return Err(ApiError::conflict(
                TOO_MANY,
                format!("there are {most} notes; delete some"),
            ));
        }
        let database = self.database();
        let insert = "INSERT INTO notes (text, by) VALUES (?1, ?2)";
        database.execute(insert, params![text, by]).map_err(failed)?;
        let id = database.last_insert_rowid();
        self.show(count + 1);
        Ok(Note { id, text: text.into(), by: by.into() })
    }

    fn list(&self) -> rusqlite::Result<Vec<Note>> {
        let database = self.database();
        let mut notes = database.prepare("SELECT id, text, by FROM notes ORDER BY id")?;
        notes.query_map([], note)?.collect()
    }

    fn read(&self, id: i64) -> rusqlite::Result<Option<Note>> {
        let select = "SELECT id, text, by FROM notes WHERE id = ?1";
        self.database().query_row(select, [id], note).optional()
    }

    fn delete(&self, id: i64) -> rusqlite::Result<usize> {
        let deleted = self.database().execute("DELETE FROM notes WHERE id = ?1", [id])?;
        self.show(self.count()?);
        Ok(deleted)
    }

    /// Its part of the API document.
    fn document(&self) -> serde_json::Value {
        let (prefix, name) = (&self.settings.prefix, &self.name);
        let operation = |id: &str, statuses: &[(&str, &str)]| {
            let responses = statuses
                .iter()
                .map(|(status, text)| ((*status).to_owned(), json!({ "description": text })));
            let responses: serde_json::Map<_, _> = responses.collect();
            json!({ "tags": [name], "operationId": format!("{name}-{id}"), "responses": responses })
        };
        let mut add = operation(
            "add",
            &[("201", "Kept"), ("400", "It does not fit"), ("409", "There are too many")],
        );
        add["requestBody"] = json!({ "content": { "application/json": { "schema": {
            "type": "object",
            "required": ["text"],
            "properties": { "text": { "type": "string" } },
        } } } });
        let id = json!([{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } }]);
        json!({ "paths": {
            format!("{prefix}/"): { "get": operation("list", &[("200", "All notes")]), "post": add },
            format!("{prefix}/page"): { "get": operation("page", &[("200", "A page of them")]) },
            format!("{prefix}/changes"): { "get": operation("changes", &[("200", "Server-sent events")]) },
            format!("{prefix}/{{id}}"): {
                "parameters": id,
                "get": operation("read", &[("200", "The note"), ("404", "There is none")]),
                "delete": operation("delete", &[("204", "It is gone"), ("404", "There is none")]),
            },
        } })
    }
}

fn note(row: &rusqlite::Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note { id: row.get(0)?, text: row.get(1)?, by: row.get(2)? })
}

fn main() -> ExitCode {
    command_line(Appliance::new("notes", env!("CARGO_PKG_VERSION")).kind(Notes::default()))
}
