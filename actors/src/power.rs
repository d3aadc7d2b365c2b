//! Rebooting and shutting down the machine, after a while in which it can be called off.

use std::{fmt, time::Duration};

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle, Supervised,
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    audit::{Audit, AuditEntry, Outcome},
    events::{EventKind, EventLog},
    requester::Requester,
};

/// What can be done to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    Reboot,
    Shutdown,
}

impl fmt::Display for PowerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reboot => "reboot",
            Self::Shutdown => "shutdown",
        })
    }
}

/// The commands that do it, program first, and how long they wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerCommands {
    pub reboot: Option<Vec<String>>,
    pub shutdown: Option<Vec<String>>,
    pub delay: Duration,
}

impl Default for PowerCommands {
    /// No commands, and the documented minute.
    fn default() -> Self {
        Self { reboot: None, shutdown: None, delay: Duration::from_secs(60) }
    }
}

/// Runs the command of `action` once the delay is over; replies at once.
#[derive(Debug, Message)]
#[rtype(result = "Result<Scheduled, PowerError>")]
pub struct SchedulePower {
    pub action: PowerAction,
    pub by: Requester,
}

/// Calls off what is scheduled and replies with it; `None`: nothing was.
#[derive(Debug, Message)]
#[rtype(result = "Option<Scheduled>")]
pub struct CancelPower {
    pub by: Requester,
}

/// What will be done, when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Scheduled {
    pub action: PowerAction,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub due: OffsetDateTime,
}

impl Scheduled {
    /// When, as RFC 3339.
    #[must_use]
    pub fn due_text(&self) -> String {
        self.due.format(&Rfc3339).unwrap_or_default()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    #[error(
        "the configuration names no command for this; add {0} = [\"systemctl\", \"…\"] under [power] and restart"
    )]
    NotConfigured(PowerAction),
    #[error("a {} is scheduled already", .0.action)]
    AlreadyScheduled(Scheduled),
}

/// Owns what is scheduled.
pub struct PowerActor {
    commands: PowerCommands,
    events: EventLog,
    audit: Audit,
    scheduled: Option<(Scheduled, SpawnHandle)>,
}

impl PowerActor {
    pub(crate) fn new(commands: PowerCommands, events: EventLog, audit: Audit) -> Self {
        Self { commands, events, audit, scheduled: None }
    }
}

impl Actor for PowerActor {
    type Context = Context<Self>;
}

impl Supervised for PowerActor {
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        if let Some((scheduled, _)) = self.scheduled.take() {
            log::error!("the {} that was scheduled is called off", scheduled.action);
        }
    }
}

impl Handler<SchedulePower> for PowerActor {
    type Result = Result<Scheduled, PowerError>;

    fn handle(&mut self, msg: SchedulePower, ctx: &mut Self::Context) -> Self::Result {
        let command = match msg.action {
            PowerAction::Reboot => self.commands.reboot.clone(),
            PowerAction::Shutdown => self.commands.shutdown.clone(),
        };
        let command = command.ok_or(PowerError::NotConfigured(msg.action))?;
        if let Some((scheduled, _)) = &self.scheduled {
            return Err(PowerError::AlreadyScheduled(scheduled.clone()));
        }
        let due = OffsetDateTime::now_utc() + self.commands.delay;
        let scheduled = Scheduled { action: msg.action, due };
        let requester = msg.by.clone();
        let timer = ctx.run_later(self.commands.delay, move |act, _| {
            act.scheduled = None;
            actix::spawn(run(msg.action, command, act.audit.clone(), requester));
        });
        self.scheduled = Some((scheduled.clone(), timer));
        log::warn!("{} in {:?}, asked for by {}", msg.action, self.commands.delay, msg.by);
        let (action, by) = (msg.action.to_string(), msg.by.to_string());
        let kind = EventKind::PowerScheduled { action, due, by };
        self.events.publish_for(msg.by.request_id, kind);
        Ok(scheduled)
    }
}

impl Handler<CancelPower> for PowerActor {
    type Result = MessageResult<CancelPower>;

    fn handle(&mut self, msg: CancelPower, ctx: &mut Self::Context) -> Self::Result {
        let Some((scheduled, timer)) = self.scheduled.take() else {
            return MessageResult(None);
        };
        ctx.cancel_future(timer);
        log::warn!("{} called off by {}", scheduled.action, msg.by);
        let (action, by) = (scheduled.action.to_string(), msg.by.to_string());
        let kind = EventKind::PowerCancelled { action, by };
        self.events.publish_for(msg.by.request_id, kind);
        MessageResult(Some(scheduled))
    }
}

async fn run(action: PowerAction, command: Vec<String>, audit: Audit, by: Requester) {
    let Some((program, arguments)) = command.split_first() else { return };
    log::warn!("{action} now: {}", command.join(" "));
    // Before the command: afterwards there may be nobody left to write it down.
    audit.record(AuditEntry::new(&by, &format!("{action} now"), Outcome::Done));
    let reason = match tokio::process::Command::new(program).args(arguments).status().await {
        Ok(status) if status.success() => {
            log::info!("the command for {action} has ended well");
            return;
        }
        Ok(status) => format!("the command for {action} failed: {status}"),
        Err(err) => format!("the command for {action} cannot be run: {err}"),
    };
    log::error!("{reason}");
    let entry = AuditEntry::new(&by, &format!("{action} now"), Outcome::Failed);
    audit.record(entry.detail(reason));
}
