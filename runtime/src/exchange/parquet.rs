//! Embeddings in a Parquet file. The parquet crate of arrow-rs does the format; here is what the columns mean.

use std::cell::Cell;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Once};

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use sketchfind_core::{Error as CoreError, atomic, fingerprint};

use super::{Exported, FailedRow, Piece, piece_rows};
use crate::gallery::WIDEST;
use crate::home::{Look, Row};
use crate::{Cancel, Error, Photo, Progress, Result};

/// The columns of the schema.
const COLUMNS: [&str; 8] = ["id", "embedding", "labels", "source", "sha256", "error", "model", "product"];
/// The name of what lists hold, as the format says.
const ELEMENT: &str = "element";

/// A file whose footer was read.
type Builder = ParquetRecordBatchReaderBuilder<File>;

fn open(path: &Path) -> Result<Builder> {
    let file = File::open(path).map_err(CoreError::io("read", path))?;
    let builder = Builder::try_new(file)
        .map_err(|e| CoreError::malformed(path, format!("not a Parquet file that can be read: {e}")))?;
    for name in ["id", "embedding"] {
        if builder.schema().column_with_name(name).is_none() {
            let columns: Vec<String> =
                builder.schema().fields().iter().map(|field| format!("'{}'", field.name())).collect();
            let reason = format!("it has no column '{name}', only {}", columns.join(", "));
            return Err(CoreError::malformed(path, reason).into());
        }
    }
    let groups = builder.metadata().row_groups().iter();
    for column in groups.flat_map(|group| group.columns()) {
        if let Some(codec) = missing_codec(column.compression()) {
            let name = column.column_path().string();
            let reason = format!(
                "its column '{name}' is compressed by {codec}, expected Snappy, gzip, LZ4 or no compression"
            );
            return Err(CoreError::malformed(path, reason).into());
        }
    }
    Ok(builder)
}

/// The name of a codec that is not built, because it needs a C compiler or nobody writes it.
fn missing_codec(compression: Compression) -> Option<String> {
    match compression {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::GZIP(_)
        | Compression::LZ4
        | Compression::LZ4_RAW => None,
        other => Some(format!("{other:?}").split('(').next().unwrap_or_default().to_owned()),
    }
}

/// The names of columns that the schema does not know.
pub(super) fn unread_columns(path: &Path) -> Result<Vec<String>> {
    let builder = guarded(path, || open(path))?;
    let names = builder.schema().fields().iter().map(|field| field.name());
    Ok(names.filter(|name| !COLUMNS.contains(&name.as_str())).cloned().collect())
}

thread_local! {
    /// Whether this thread is in [`guarded`].
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does what the parquet crate does on bytes that may hold anything: it panics on some of them, which becomes an error and is
/// not printed besides.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A thread that ends has no such variable any more, and is not in here.
            if !IS_GUARDED.try_with(Cell::get).unwrap_or(false) {
                usual(panic);
            }
        }));
    });
    IS_GUARDED.set(true);
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(false);
    outcome.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no reason is given");
        Err(CoreError::malformed(path, format!("it is damaged, and cannot be read as Parquet: {text}"))
            .into())
    })
}

/// Reads a file piece by piece, see [`super::read`].
pub(super) fn read(path: &Path, visit: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
    let builder = guarded(path, || open(path))?;
    let known: Vec<usize> = (0..)
        .zip(builder.schema().fields())
        .filter(|(_, field)| COLUMNS.contains(&field.name().as_str()))
        .map(|(column, _)| column)
        .collect();
    let width = match builder.schema().column_with_name("embedding").map(|(_, field)| field.data_type()) {
        Some(DataType::FixedSizeList(_, width)) => usize::try_from(*width).unwrap_or(0),
        // Not known before it is read: pieces are as small as those of wide ones.
        _ => 4096,
    };
    let mask = ProjectionMask::roots(builder.parquet_schema(), known);
    let malformed = |reason: String| Error::from(CoreError::malformed(path, reason));
    let builder = builder.with_projection(mask).with_batch_size(piece_rows(width));
    let mut reader = guarded(path, || builder.build().map_err(|e| malformed(e.to_string())))?;
    let mut first = 0;
    loop {
        let next = guarded(path, || {
            let batch = reader.next().transpose().map_err(|e| malformed(e.to_string()))?;
            let read = |batch: RecordBatch| Ok((batch.num_rows(), piece(&batch, first).map_err(malformed)?));
            batch.map(read).transpose()
        })?;
        let Some((n, piece)) = next else {
            return Ok(());
        };
        visit(piece)?;
        first += n;
    }
}

/// The rows of a batch whose first is row `first` of the file.
fn piece(batch: &RecordBatch, first: usize) -> std::result::Result<Piece, String> {
    let text = |name: &str| match batch.column_by_name(name) {
        None => Ok(Texts::None),
        Some(array) => Texts::of(array).ok_or_else(|| wrong_type(name, array, "string")),
    };
    let list = |name: &str, of: &str| match batch.column_by_name(name) {
        None => Ok(Lists::None),
        Some(array) => Lists::of(array).ok_or_else(|| wrong_type(name, array, &format!("list of {of}"))),
    };
    let (ids, embeddings) = (text("id")?, list("embedding", "float32")?);
    let labels = list("labels", "string")?;
    let [sources, contents, errors, models, products] =
        ["source", "sha256", "error", "model", "product"].map(text);
    let (sources, contents, errors, models, products) = (sources?, contents?, errors?, models?, products?);
    let mut piece = Piece::default();
    for row in 0..batch.num_rows() {
        let number = first + row;
        let id = ids.get(row).ok_or_else(|| format!("row {number} has no id"))?;
        let wrong = |reason: String| format!("the row of '{id}': {reason}");
        if let Some(model) = models.get(row) {
            if fingerprint::of_hex(model).is_none() {
                return Err(wrong(format!(
                    "its model is '{model}', expected the SHA-256 in 64 hexadecimal digits"
                )));
            }
            let model = model.to_ascii_lowercase();
            match &piece.model_sha256 {
                Some(other) if *other != model => {
                    return Err(wrong(format!("it is by the model {model}, others by {other}")));
                }
                _ => piece.model_sha256 = Some(model),
            }
        }
        if let Some(error) = errors.get(row).filter(|error| !error.is_empty()) {
            piece.failed.push(FailedRow { id: id.to_owned(), error: error.to_owned() });
            continue;
        }
        let embedding =
            embeddings.get(row).ok_or_else(|| wrong("it has neither embedding nor error".into()))?;
        let Some(numbers) = embedding.as_primitive_opt::<Float32Type>() else {
            let found = embedding.data_type();
            return Err(wrong(format!("its embedding is a list of {found}, expected float32")));
        };
        if numbers.null_count() > 0 {
            return Err(wrong("its embedding has a number that is null".into()));
        }
        let numbers: &[f32] = numbers.values();
        if let Some(value) = numbers.iter().find(|value| !value.is_finite()) {
            return Err(wrong(format!("its embedding has a number that is not finite ({value})")));
        }
        match piece.width {
            None if (1..=WIDEST).contains(&numbers.len()) => piece.width = Some(numbers.len()),
            Some(width) if width == numbers.len() => {}
            width => {
                let expected = width.map_or(format!("1 to {WIDEST}"), |width| width.to_string());
                return Err(wrong(format!("its embedding is {} wide, expected {expected}", numbers.len())));
            }
        }
        let mut photo = Photo::new(id);
        if let Some(own) = labels.get(row) {
            let texts = Texts::of(&own).ok_or_else(|| wrong_type("labels", &own, "string"))?;
            let texts: Option<Vec<&str>> = (0..own.len()).map(|label| texts.get(label)).collect();
            photo = photo.with_labels(texts.ok_or_else(|| wrong("one of its labels is null".into()))?);
        }
        if let Some(product) = products.get(row) {
            photo = photo.with_product(product);
        }
        if let Some(source) = sources.get(row) {
            photo = photo.with_source(source);
        }
        if let Some(content) = contents.get(row) {
            let bytes = fingerprint::of_hex(content)
                .ok_or_else(|| wrong(format!("its sha256 is '{content}', expected 64 hexadecimal digits")))?;
            photo = photo.with_content(bytes);
        }
        photo.check().map_err(|e| wrong(e.to_string()))?;
        piece.photos.push(photo);
        piece.values.extend_from_slice(numbers);
    }
    Ok(piece)
}

fn wrong_type(column: &str, array: &dyn Array, expected: &str) -> String {
    format!("its column '{column}' is of the type {}, expected {expected}", array.data_type())
}

/// A column of texts, in each of the types that programs write them in.
enum Texts<'a> {
    None,
    Small(&'a arrow_array::StringArray),
    Large(&'a arrow_array::LargeStringArray),
    View(&'a arrow_array::StringViewArray),
}

impl<'a> Texts<'a> {
    fn of(array: &'a ArrayRef) -> Option<Texts<'a>> {
        match array.data_type() {
            // What a program writes that has seen no text.
            DataType::Null => Some(Texts::None),
            DataType::Utf8 => array.as_string_opt().map(Texts::Small),
            DataType::LargeUtf8 => array.as_string_opt().map(Texts::Large),
            DataType::Utf8View => array.as_string_view_opt().map(Texts::View),
            _ => None,
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Texts::None => None,
            Texts::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Texts::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Texts::View(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

/// A column of lists, in each of the types that programs write them in.
enum Lists<'a> {
    None,
    Fixed(&'a arrow_array::FixedSizeListArray),
    Small(&'a arrow_array::ListArray),
    Large(&'a arrow_array::LargeListArray),
}

impl<'a> Lists<'a> {
    fn of(array: &'a ArrayRef) -> Option<Lists<'a>> {
        match array.data_type() {
            DataType::Null => Some(Lists::None),
            DataType::FixedSizeList(..) => array.as_fixed_size_list_opt().map(Lists::Fixed),
            DataType::List(_) => array.as_list_opt().map(Lists::Small),
            DataType::LargeList(_) => array.as_list_opt().map(Lists::Large),
            _ => None,
        }
    }

    fn get(&self, row: usize) -> Option<ArrayRef> {
        match self {
            Lists::None => None,
            Lists::Fixed(array) => array.is_valid(row).then(|| array.value(row)),
            Lists::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Lists::Large(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

fn schema(width: i32) -> SchemaRef {
    let list = |of: DataType| Arc::new(Field::new(ELEMENT, of, false));
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("embedding", DataType::FixedSizeList(list(DataType::Float32), width), true),
        Field::new("labels", DataType::List(list(DataType::Utf8)), true),
        text("source"),
        text("sha256"),
        text("error"),
        text("model"),
        text("product"),
    ]))
}

/// Writes all photos of a gallery, see [`Gallery::export`](crate::Gallery::export).
pub(super) fn write(
    path: &Path,
    look: &dyn Look,
    model_sha256: Option<&str>,
    progress: Progress<'_>,
    cancel: Cancel<'_>,
) -> Result<Exported> {
    let failed = |e: &dyn std::fmt::Display| Error::from(CoreError::malformed(path, e.to_string()));
    let width = i32::try_from(look.width()).map_err(|e| failed(&e))?;
    let (schema, n) = (schema(width), piece_rows(look.width()));
    let embedding = ColumnPath::from(["embedding", "list", ELEMENT].map(str::to_owned).to_vec());
    let properties = WriterProperties::builder()
        .set_created_by(concat!("sketchfind ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        // Embeddings repeat nothing that a dictionary or a codec could save.
        .set_column_dictionary_enabled(embedding.clone(), false)
        .set_column_compression(embedding, Compression::UNCOMPRESSED)
        .build();
    let mut exported = Exported::default();
    atomic::write_file(path, |out| -> Result<()> {
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))
            .map_err(|e| failed(&e))?;
        let mut waiting: Vec<Row> = Vec::with_capacity(n);
        let mut write = |waiting: &mut Vec<Row>| -> Result<()> {
            let batch = batch(&schema, width, waiting, model_sha256, &mut exported.without_source);
            writer.write(&batch.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
            // A group of rows is kept in memory until it is whole.
            writer.flush().and_then(|()| writer.sync().map_err(Into::into)).map_err(|e| failed(&e))?;
            out.write_all(writer.inner()).map_err(CoreError::io("write", path))?;
            writer.inner_mut().clear();
            exported.n_photos += waiting.len();
            waiting.clear();
            progress.tell(exported.n_photos);
            if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
        };
        look.each_row(&mut |photo, row| {
            waiting.push(Row { photo: photo.clone(), embedding: row.to_vec() });
            if waiting.len() == n { write(&mut waiting) } else { Ok(()) }
        })?;
        if !waiting.is_empty() {
            write(&mut waiting)?;
        }
        let end = writer.into_inner().map_err(|e| failed(&e))?;
        Ok(out.write_all(&end).map_err(CoreError::io("write", path))?)
    })?;
    Ok(exported)
}

fn batch(
    schema: &SchemaRef,
    width: i32,
    rows: &[Row],
    model_sha256: Option<&str>,
    without_source: &mut Vec<String>,
) -> std::result::Result<RecordBatch, arrow_schema::ArrowError> {
    let field = |of: DataType| Field::new(ELEMENT, of, false);
    let [mut ids, mut sources, mut contents, mut errors, mut models, mut products] =
        std::array::from_fn(|_| StringBuilder::new());
    let mut embeddings =
        FixedSizeListBuilder::new(Float32Builder::new(), width).with_field(field(DataType::Float32));
    let mut labels = ListBuilder::new(StringBuilder::new()).with_field(field(DataType::Utf8));
    for Row { photo, embedding } in rows {
        ids.append_value(photo.id());
        embeddings.values().append_slice(embedding);
        embeddings.append(true);
        photo.labels().iter().for_each(|label| labels.values().append_value(label));
        labels.append(true);
        let source = photo.source().and_then(Path::to_str);
        if photo.source().is_some() && source.is_none() {
            without_source.push(photo.id().to_owned());
        }
        sources.append_option(source);
        contents.append_option(photo.content().map(|bytes| fingerprint::hex(bytes)));
        errors.append_null();
        models.append_option(model_sha256);
        products.append_option(photo.product());
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids.finish()),
        Arc::new(embeddings.finish()),
        Arc::new(labels.finish()),
        Arc::new(sources.finish()),
        Arc::new(contents.finish()),
        Arc::new(errors.finish()),
        Arc::new(models.finish()),
        Arc::new(products.finish()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
}
