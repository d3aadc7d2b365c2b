//! A change that comes to its end, and changes that fail at each of their steps.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use actix::{Actor, Context, Handler};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{Change, ChangeError, ChangeKind, Ledger, Prepared, Snapshot, Undo, Writer};
use crate::{
    events::{EventKind, EventLog, Next},
    handover::{Generations, Handover, HandoverError, Scope},
    requester::Requester,
    settings::SettingsChange,
    store::{
        AdminAccess, ChangeNote, FileStore, HistoryEntry, Loaded, Revision, State, StateStore,
        StoreError,
    },
};

/// A store whose disk can be full.
struct Disk {
    files: FileStore,
    full: AtomicBool,
}

impl Disk {
    fn has_room(&self) -> Result<(), StoreError> {
        if self.full.load(Relaxed) {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(StoreError::Io { action: "write", path: "state".into(), source });
        }
        Ok(())
    }

    fn state(&self) -> State {
        self.load().unwrap().unwrap().state
    }
}

impl StateStore for Disk {
    fn load(&self) -> Result<Option<Loaded>, StoreError> {
        self.files.load()
    }

    fn commit(&self, state: &State, note: &ChangeNote) -> Result<Revision, StoreError> {
        self.has_room()?;
        self.files.commit(state, note)
    }

    fn withdraw(&self, revision: Revision) -> Result<Revision, StoreError> {
        self.has_room()?;
        self.files.withdraw(revision)
    }

    fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        self.files.history()
    }

    fn revision(&self, revision: Revision) -> Result<Loaded, StoreError> {
        self.files.revision(revision)
    }
}

/// Shows readers the exposure and the token, and can find that one exposure cannot be served.
#[derive(Clone)]
struct Shown(Arc<Mutex<Showing>>);

#[derive(Clone, PartialEq)]
struct Showing {
    insecure_ports: bool,
    job_token: Option<Zeroizing<String>>,
    unusable: Option<bool>,
}

impl Shown {
    fn by(&self) -> (bool, Option<String>) {
        let now = self.0.lock().unwrap();
        (now.insecure_ports, now.job_token.as_deref().cloned())
    }

    /// From now on a state with plain HTTP on or off cannot be made ready.
    fn cannot_serve(&self, insecure_ports: bool) {
        self.0.lock().unwrap().unusable = Some(insecure_ports);
    }

    fn show(self, insecure_ports: bool, job_token: Option<Zeroizing<String>>) -> Undo {
        let mut now = self.0.lock().unwrap();
        let before = Showing { insecure_ports, job_token, unusable: now.unusable };
        let before = std::mem::replace(&mut *now, before);
        drop(now);
        Box::new(move || drop(self.show(before.insecure_ports, before.job_token)))
    }
}

impl Snapshot for Shown {
    fn prepare(
        &self,
        _serving: Option<&State>,
        next: &State,
    ) -> Result<Option<Prepared>, ChangeError> {
        if self.0.lock().unwrap().unusable == Some(next.insecure_ports) {
            return Err(ChangeError::unusable("the exposure", std::io::Error::other("on purpose")));
        }
        let (shown, insecure_ports, token) =
            (self.clone(), next.insecure_ports, next.job_token.clone());
        Ok(Some(Prepared {
            scope: Some(Scope::Plain),
            remark: None,
            publish: Box::new(move || shown.show(insecure_ports, token)),
        }))
    }
}

/// What a handover found: what is shown, and what the disk holds.
type Found = ((bool, Option<String>), State);

/// Stands for the listeners: looks around at each handover, and refuses it where it is told to.
struct Listeners {
    disk: Arc<Disk>,
    shown: Shown,
    refuse: Arc<AtomicBool>,
    found: Arc<Mutex<Vec<Found>>>,
}

impl Actor for Listeners {
    type Context = Context<Self>;
}

impl Handler<Handover> for Listeners {
    type Result = Result<Generations, HandoverError>;

    fn handle(&mut self, _: Handover, _ctx: &mut Self::Context) -> Self::Result {
        self.found.lock().unwrap().push((self.shown.by(), self.disk.state()));
        if self.refuse.load(Relaxed) {
            let source = std::io::Error::other("on purpose");
            return Err(HandoverError { listener: "http".into(), source });
        }
        Ok(Generations::from([("http".to_owned(), 2)]))
    }
}

struct Bench {
    disk: Arc<Disk>,
    shown: Shown,
    refuse: Arc<AtomicBool>,
    found: Arc<Mutex<Vec<Found>>>,
    events: EventLog,
    writer: Writer,
    before: State,
    _folder: TempDir,
}

fn by() -> Requester {
    Requester::local("a test")
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = FileStore::open(folder.path()).unwrap();
        let disk = Arc::new(Disk { files, full: AtomicBool::new(false) });
        let before = State::factory(AdminAccess::Open);
        disk.commit(&before, &super::note(ChangeKind::FirstStart, &by())).unwrap();
        let showing =
            Showing { insecure_ports: before.insecure_ports, job_token: None, unusable: None };
        let shown = Shown(Arc::new(Mutex::new(showing)));
        let (refuse, found) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Found>>>::default());
        let listeners = Listeners {
            disk: disk.clone(),
            shown: shown.clone(),
            refuse: refuse.clone(),
            found: found.clone(),
        };
        let events = EventLog::default();
        let ledger = Ledger::new(disk.clone(), before.clone(), events.clone());
        let supervisor = listeners.start().recipient();
        let writer = Writer::new(ledger, vec![Box::new(shown.clone())], supervisor);
        Self { disk, shown, refuse, found, events, writer, before, _folder: folder }
    }

    /// The state with plain HTTP off and a token.
    fn other(&self) -> State {
        let job_token = Some(Zeroizing::new("token".to_owned()));
        State { insecure_ports: false, job_token, ..self.before.clone() }
    }

    fn handovers(&self) -> usize {
        self.found.lock().unwrap().len()
    }

    fn history(&self) -> Vec<String> {
        let entries = self.disk.history().unwrap().into_iter();
        entries.map(|entry| entry.note.expect("a note").what).collect()
    }

    /// Whoever asks finds the state from before; `handovers` were tried.
    async fn is_as_before(&self, handovers: usize) {
        assert_eq!(self.shown.by(), (true, None), "what serves");
        assert!(self.writer.ledger().state().await == self.before, "what the ledger says");
        assert_eq!(self.handovers(), handovers);
    }
}

#[actix_rt::test]
async fn a_change_is_stored_then_published_then_handed_over() {
    let bench = Bench::new();
    let mut events = bench.events.subscribe(None);
    let made = bench.writer.apply(Change::SetInsecurePorts(false), &by()).await.unwrap();
    assert_eq!(made["http"], 2);
    let next = State { insecure_ports: false, ..bench.before.clone() };
    let found = bench.found.lock().unwrap().clone();
    assert!(found == [((false, None), next.clone())], "what the handover found");
    assert!(bench.writer.ledger().state().await == next);
    assert_eq!(bench.history(), ["plain HTTP switched off", "first start"]);
    let Some(Next::Event(event)) = events.next().await else { panic!("no event") };
    let EventKind::ConfigurationChanged { revision, what, by } = &event.kind else {
        panic!("{event:?}")
    };
    assert_eq!((*revision, what.as_str(), by.as_str()), (2, "plain HTTP switched off", "a test"));
}

#[actix_rt::test]
async fn a_change_of_what_is_so_already_makes_no_revision() {
    let bench = Bench::new();
    let (change, configured) = (SettingsChange::default(), Arc::default());
    let change = Change::ChangeSettings { change, configured };
    let made = bench.writer.apply(change, &by()).await.unwrap();
    assert!(made.is_empty());
    bench.is_as_before(0).await;
    assert_eq!(bench.history(), ["first start"]);
}

#[actix_rt::test]
async fn what_cannot_be_served_is_not_even_stored() {
    let bench = Bench::new();
    bench.shown.cannot_serve(false);
    let refused = bench.writer.apply(Change::SetInsecurePorts(false), &by()).await.unwrap_err();
    assert!(refused.is_refusal() && refused.to_string().contains("the exposure"), "{refused}");
    bench.is_as_before(0).await;
    assert_eq!(bench.history(), ["first start"]);
}

/// The state from before could not be published anew; that must keep neither the disk nor the ledger
/// with a state that does not serve.
#[actix_rt::test]
async fn a_change_is_undone_though_the_state_before_cannot_be_made_ready_again() {
    let bench = Bench::new();
    bench.refuse.store(true, Relaxed);
    bench.shown.cannot_serve(true);
    assert!(bench.shown.prepare(None, &bench.before).is_err(), "it cannot be made ready");
    let failed = bench.writer.apply(Change::SetInsecurePorts(false), &by()).await.unwrap_err();
    assert!(matches!(failed, ChangeError::Handover(_)), "{failed}");
    bench.is_as_before(1).await;
    assert!(bench.found.lock().unwrap()[0].0 == (false, None), "it was published");
    assert!(bench.disk.state() == bench.before, "what the disk holds");
    assert_eq!(bench.history(), ["first start"], "no rollback finds it");
    assert_eq!(bench.writer.ledger().divergence(), None);
}

/// A rollback and edited files go the way of every other change.
#[actix_rt::test]
async fn a_rollback_and_edited_files_are_served_or_left_alone_like_any_change() {
    for edited in [false, true] {
        let bench = Bench::new();
        let next = Box::new(bench.other());
        let change = || {
            if edited { Change::AdoptFiles(next.clone()) } else { Change::RollBack(next.clone()) }
        };
        let note = super::note(ChangeKind::JobTokenSet, &by());
        if edited {
            // Somebody has written it there.
            bench.disk.commit(&next, &note).unwrap();
        }
        let history = bench.history();

        bench.refuse.store(true, Relaxed);
        let failed = bench.writer.apply(change(), &by()).await.unwrap_err();
        assert!(matches!(failed, ChangeError::Handover(_)), "{failed}");
        bench.is_as_before(1).await;
        assert_eq!(bench.history(), history);
        // What somebody else has written is not ours to take away.
        assert!(bench.disk.state() == if edited { bench.other() } else { bench.before.clone() });

        bench.refuse.store(false, Relaxed);
        bench.writer.apply(change(), &by()).await.unwrap();
        let found = bench.found.lock().unwrap()[1].clone();
        assert!(found == ((false, Some("token".into())), bench.other()), "stored and published");
        assert!(bench.writer.ledger().state().await == bench.other());
        let stored = bench.history().len() - history.len();
        assert_eq!(stored, usize::from(!edited), "edited files are stored already");
    }
}

#[actix_rt::test]
async fn what_readers_see_is_made_to_agree_with_the_ledger() {
    let bench = Bench::new();
    drop(bench.shown.clone().show(false, None));
    bench.writer.realign("an owner was started again").await;
    bench.is_as_before(1).await;
}

#[actix_rt::test]
async fn undoing_that_cannot_be_stored_is_told_until_a_change_is_stored() {
    let bench = Bench::new();
    let (ledger, by) = (bench.writer.ledger().clone(), by());
    let mut turn = ledger.begin().await;
    let next = State { insecure_ports: false, ..bench.before.clone() };
    turn.commit(next.clone(), ChangeKind::PlainHttpOff, &by).await.unwrap();
    bench.disk.full.store(true, Relaxed);
    turn.undo(bench.before.clone(), &by).await;
    drop(turn);
    assert!(ledger.state().await == bench.before, "what serves");
    assert!(bench.disk.state() == next, "what the disk holds");
    let told = ledger.divergence().expect("it is told");
    assert!(told.contains("cannot write state"), "{told}");

    bench.disk.full.store(false, Relaxed);
    bench.writer.apply(Change::SetJobToken(bench.other().job_token), &by).await.unwrap();
    assert_eq!(ledger.divergence(), None);
    assert!(bench.disk.state() == ledger.state().await);
}
