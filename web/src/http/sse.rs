//! Server-sent events: an answer that goes on until its generation drains.
//!
//! A stream ends when the generation of its connection begins to drain, so that it holds up
//! neither a handover nor a shutdown; browsers and other `EventSource` clients then connect again,
//! to the new generation, and name the last event that they saw. A stream that the admin password
//! has opened ends at once when the password changes: the next connection needs the new one.

#![warn(missing_docs)]

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{HttpMessage, HttpRequest, HttpResponse, http::header, web::Bytes};
use futures::{Stream, future::BoxFuture, stream};
use portcullis_actors::auth::Validity;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::http::connection::connection_of;

/// How often a stream that is silent says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 1000;

/// One message to the client, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(String);

impl Message {
    /// A message of data alone; line breaks make several `data` lines, which clients join again.
    #[must_use]
    pub fn data(data: &str) -> Self {
        let mut text = String::with_capacity(data.len() + 8);
        for line in data.trim_end_matches(['\n', '\r']).split('\n') {
            text.push_str("data: ");
            text.push_str(line.trim_end_matches('\r'));
            text.push('\n');
        }
        text.push('\n');
        Self(text)
    }

    /// Puts a name, and perhaps a number to resume from, before the data. The name is one line.
    #[must_use]
    pub fn event(name: &str, id: Option<u64>, data: &str) -> Self {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        Self(format!("event: {name}\n{id}{}", Self::data(data).0))
    }
}

/// Answers with `messages`; ends with them, or when the request's generation drains. A silent stream says
/// every 15 seconds that it is alive; a client is told to come back after one second.
///
/// ```
/// use actix_web::{HttpRequest, HttpResponse, web::Data};
/// use portcullis::{events::{EventLog, Next}, sse::{self, Message}};
///
/// /// What happens from now on.
/// async fn follow(request: HttpRequest, events: Data<EventLog>) -> HttpResponse {
///     let messages = sse::unfold(events.subscribe(None), |mut subscription| async move {
///         let message = match subscription.next().await? {
///             Next::Event(event) => Message::event(event.kind.name(), Some(event.id), ""),
///             Next::Missed => Message::event("missed", None, ""),
///         };
///         Some((message, subscription))
///     });
///     sse::answer(&request, messages)
/// }
/// # let _ = follow;
/// ```
pub fn answer(
    request: &HttpRequest,
    messages: impl Stream<Item = Message> + 'static,
) -> HttpResponse {
    let drained: BoxFuture<'static, ()> = match connection_of(request) {
        Some(connection) => Box::pin(async move { connection.generation().drained().await }),
        None => Box::pin(std::future::pending()),
    };
    let over: BoxFuture<'static, ()> = match request.extensions().get::<Validity>() {
        Some(validity) => Box::pin(validity.clone().over()),
        None => Box::pin(std::future::pending()),
    };
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let first = Message(format!("retry: {RETRY_MS}\n\n"));
    let messages = Box::pin(messages);
    let body = Body { first: Some(first), messages, over, drained, heartbeat };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Reverse proxies of the nginx family would hold messages back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body)
}

/// Messages from `state`, made one after another until `None`.
pub fn unfold<S, F, Fut>(state: S, next: F) -> impl Stream<Item = Message>
where
    F: FnMut(S) -> Fut,
    Fut: Future<Output = Option<(Message, S)>>,
{
    stream::unfold(state, next)
}

struct Body {
    first: Option<Message>,
    messages: Pin<Box<dyn Stream<Item = Message>>>,
    /// The credential has changed by which the client was let in.
    over: BoxFuture<'static, ()>,
    drained: BoxFuture<'static, ()>,
    heartbeat: Interval,
}

impl Stream for Body {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first.0.into())));
        }
        // What is there already goes out before the end.
        match this.messages.as_mut().poll_next(cx) {
            Poll::Ready(Some(message)) => {
                this.heartbeat.reset();
                return Poll::Ready(Some(Ok(message.0.into())));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        if this.drained.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if this.heartbeat.poll_tick(cx).is_ready() {
            return Poll::Ready(Some(Ok(Bytes::from_static(b": alive\n\n"))));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_stay_inside_a_message() {
        let message = Message::event("changed", Some(7), "one\r\ntwo\n");
        assert_eq!(message.0, "event: changed\nid: 7\ndata: one\ndata: two\n\n");
    }
}
