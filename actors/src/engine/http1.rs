//! HTTP/1 connections, by actix-http's dispatcher.
//!
//! A dispatcher has buffers of 16 KiB, and most connections are idle most of the time. So one on
//! which nothing is in progress *rests*: its dispatcher is told that the client has closed, goes, and
//! gives the stream back. What is left waits for a byte, in a buffer of the thread, and has another
//! dispatcher made for it.

use std::{cell::Cell, future::poll_fn, rc::Rc};

use actix_http::error::{DispatchError, ParseError};
use bytes::Bytes;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{
    answers::Answers,
    connection::{Connection, DISCONNECT_TIMEOUT, HEAD_TIMEOUT, KEEP_ALIVE, Stream, Tracked},
    stream::{Http1, poll_read_to_size},
    worker::Worker,
};

/// Serves one connection until it ends.
pub(super) async fn serve(stream: Tracked<Stream>, answers: &Rc<Answers>, worker: &Rc<Worker>) {
    let connection = stream.connection().clone();
    let mut left = Some(stream);
    while let Some(mut stream) = left.take() {
        let Some(first) = first_bytes(&mut stream).await else {
            // Who is told to close may not read that it is: nobody waits for him longer.
            let _ = timeout(DISCONNECT_TIMEOUT, stream.shutdown()).await;
            return;
        };
        let back = Rc::<Cell<_>>::default();
        let _awake = worker.keep_awake(&connection);
        let stream = Http1::new(stream, first, answers.takes_websocket.clone(), back.clone());
        if let Err(err) = (answers.http1)(stream, connection.peer()).await {
            tell(&connection, &err);
        }
        left = back.take();
    }
}

fn tell(connection: &Connection, err: &DispatchError) {
    let peer = connection.peer();
    match err {
        DispatchError::Parse(err) if !matches!(err, ParseError::Io(_)) => {
            connection.malformed("HTTP/1", err);
        }
        DispatchError::Body(err) => connection.generation().broke_off(peer, err),
        err => log::debug!("HTTP/1 connection of {peer} ended: {err}"),
    }
}

/// Waits until the client sends something. `None`: it closed, or it is time to.
async fn first_bytes(stream: &mut Tracked<Stream>) -> Option<Bytes> {
    let patience = if stream.connection().has_served() { KEEP_ALIVE } else { HEAD_TIMEOUT };
    let read = timeout(patience, poll_fn(|cx| poll_read_to_size(stream, cx))).await;
    let bytes = read.ok()?.ok()?;
    (!bytes.is_empty()).then_some(bytes)
}
