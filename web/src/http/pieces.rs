//! Answers that are read from something that blocks.

use std::io::{self, Read};

use actix_web::web::{self, Bytes};
use futures::{Stream, stream};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

/// Bytes of one piece on its way to the client.
pub(crate) const PIECE: usize = 64 << 10;

/// What the document says of a body that is neither text nor JSON.
pub(crate) struct Binary;

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Binary {}

/// A body of what `open` gives, read in pieces: each on a blocking thread, which is free again
/// before the client has the piece, and the next one when the client has taken it. A client that
/// takes nothing holds no thread. An error breaks the body off, so that nobody takes it for whole.
pub(crate) fn read<R: Read + Send + 'static>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(Source::New(open)), |source| async move {
        let source = source?;
        let read = web::block(move || {
            let mut reader = match source {
                Source::New(open) => open()?,
                Source::Open(reader) => reader,
            };
            let mut piece = Vec::with_capacity(PIECE);
            reader.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            Ok::<_, io::Error>((Bytes::from(piece), reader))
        });
        match read.await {
            Ok(Ok((piece, _))) if piece.is_empty() => None,
            Ok(Ok((piece, reader))) => Some((Ok(piece), Some(Source::Open(reader)))),
            Ok(Err(err)) => Some((Err(err), None)),
            Err(_) => Some((Err(io::Error::other("the appliance is shutting down")), None)),
        }
    })
}

enum Source<O, R> {
    New(O),
    Open(R),
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[actix_web::test]
    async fn a_body_comes_in_pieces_and_an_error_ends_it() {
        let bytes: Vec<u8> = (0..3 * PIECE + 7).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let whole = bytes.clone();
        let body = read(move || Ok(io::Cursor::new(whole)));
        let pieces: Vec<_> = body.map(Result::unwrap).collect().await;
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.concat(), bytes);

        let broken = read(|| Err::<io::Empty, _>(io::ErrorKind::NotFound.into()));
        let ended: Vec<_> = broken.collect().await;
        assert!(matches!(&ended[..], [Err(err)] if err.kind() == io::ErrorKind::NotFound));
    }
}
