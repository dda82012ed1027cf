//! Photos and embeddings as rows of a table.

use std::path::Path;

use pgvector::{HalfVector, Vector};
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{Kind, ToSql, Type};
use postgres::{Row as SqlRow, Transaction};
use sketchfind_core::{Error as CoreError, fingerprint};

use super::connections::Failure;
use super::schema::Kept;
use crate::{Error, Photo, Result};

/// The columns of a photo, in the order that [`photo`] reads them.
pub(super) const PHOTO: &str = "id, labels, product, source, sha256";
/// The place of the embedding where it is asked for after them.
pub(super) const EMBEDDING: usize = 5;

/// A photo of the columns [`PHOTO`].
///
/// # Errors
/// Where a column is not what it should be.
pub(super) fn photo(row: &SqlRow) -> std::result::Result<Photo, postgres::Error> {
    let photo = Photo::new(row.try_get::<_, String>(0)?);
    let labels: Vec<String> = row.try_get(1)?;
    let photo = if labels.is_empty() { photo } else { photo.with_labels(labels) };
    let photo = match row.try_get::<_, Option<String>>(2)? {
        Some(product) => photo.with_product(product),
        None => photo,
    };
    let photo = match row.try_get::<_, Option<String>>(3)? {
        Some(source) => photo.with_source(source),
        None => photo,
    };
    // What is no SHA-256 there is of no use, and harms nothing.
    let content = row.try_get::<_, Option<&str>>(4)?.and_then(fingerprint::of_hex);
    Ok(match content {
        Some(content) => photo.with_content(content),
        None => photo,
    })
}

/// The embedding in a column.
///
/// # Errors
/// Where it is none.
pub(super) fn embedding(
    row: &SqlRow,
    column: usize,
    kept: Kept,
) -> std::result::Result<Vec<f32>, postgres::Error> {
    Ok(match kept {
        Kept::Vector => row.try_get::<_, Vector>(column)?.to_vec(),
        Kept::Halfvec => {
            let halves: HalfVector = row.try_get(column)?;
            halves.to_vec().into_iter().map(f32::from).collect()
        }
    })
}

/// An embedding as a parameter.
pub(super) fn parameter(values: &[f32], kept: Kept) -> Box<dyn ToSql + Sync> {
    match kept {
        Kept::Vector => Box::new(Vector::from(values.to_vec())),
        Kept::Halfvec => Box::new(HalfVector::from_f32_slice(values)),
    }
}

/// Checks what a table keeps of photos, besides what any gallery does: text without the character that PostgreSQL has not, and
/// embeddings that are as finite there as here.
///
/// # Errors
/// [`Error::Core`] naming the photo.
pub(super) fn check(photos: &[Photo], values: &[f32], width: usize, kept: Kept) -> Result<()> {
    let refused = |what: &'static str, photo: &Photo, expected: &str| {
        let value = format!("'{}'", photo.id().escape_default());
        Error::from(CoreError::OutOfRange { what, value, expected: expected.to_owned() })
    };
    for photo in photos {
        let source = photo.source().map(|source| source.to_str().ok_or(()));
        let Ok(source) = source.transpose() else {
            return Err(refused("the path of the photo", photo, "UTF-8 in a database"));
        };
        let texts = [Some(photo.id()), photo.product(), source].into_iter().flatten();
        if texts.chain(photo.labels().iter().map(String::as_str)).any(|text| text.contains('\0')) {
            return Err(refused("a text of the photo", photo, "no zero character in a database"));
        }
    }
    if kept == Kept::Halfvec {
        let rows = values.chunks_exact(width);
        let is_too_large = |row: &[f32]| row.iter().any(|value| value.abs() >= 65_520.0);
        if let Some((photo, _)) = photos.iter().zip(rows).find(|(_, row)| is_too_large(row)) {
            return Err(refused(
                "the embedding of the photo",
                photo,
                "numbers below 65520, as half precision has",
            ));
        }
    }
    Ok(())
}

/// Copies photos into a table, in the binary form of COPY.
///
/// # Errors
/// Those of the database; nothing is there then, once the transaction is rolled back.
pub(super) fn copy_in(
    transaction: &mut Transaction<'_>,
    table: &str,
    photos: &[Photo],
    values: &[f32],
    width: usize,
    kept: Kept,
) -> std::result::Result<(), Failure> {
    let of_embedding = embedding_type(transaction, kept)?;
    let types = [Type::TEXT, of_embedding, Type::TEXT_ARRAY, Type::TEXT, Type::TEXT, Type::TEXT];
    let columns = "id, embedding, labels, product, source, sha256";
    let out = transaction.copy_in(&format!("copy {table} ({columns}) from stdin (format binary)"))?;
    let mut writer = BinaryCopyInWriter::new(out, &types);
    for (photo, row) in photos.iter().zip(values.chunks_exact(width)) {
        let embedding = parameter(row, kept);
        let labels: Vec<&str> = photo.labels().iter().map(String::as_str).collect();
        let source = photo.source().and_then(Path::to_str);
        let sha256 = photo.content().map(|bytes| fingerprint::hex(bytes));
        writer.write(&[&photo.id(), embedding.as_ref(), &labels, &photo.product(), &source, &sha256])?;
    }
    writer.finish()?;
    Ok(())
}

/// The type of embeddings, which the extension has made under a number of its own.
fn embedding_type(
    transaction: &mut Transaction<'_>,
    kept: Kept,
) -> std::result::Result<Type, postgres::Error> {
    let found = transaction.query_one("select $1::text::regtype::oid", &[&kept.name()])?;
    Ok(Type::new(kept.name().to_owned(), found.try_get(0)?, Kind::Simple, String::new()))
}
