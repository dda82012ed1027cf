//! A shop's own service: `shop build PHOTOS MODEL GALLERY`, then `shop serve GALLERY ADDRESS`.
//!
//! ```sh
//! curl --data-binary @drawing.png 'http://127.0.0.1:8000/find?k=5&label=boots'
//! curl --data-binary @photo.jpg 'http://127.0.0.1:8000/photos/boot-17?label=boots&label=sale'
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as InPath, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use sketchfind::{
    Cancel, Filter, Gallery, GalleryOptions, OnBroken, Photo, PhotoFile, Picture, Progress, Retriever,
    RetrieverOptions,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["build", photos, model, gallery] => build(photos, model, gallery).await,
        ["serve", gallery, address] => serve(gallery, address).await,
        _ => Err("usage: shop build PHOTOS MODEL GALLERY | shop serve GALLERY ADDRESS".into()),
    }
}

/// Makes a gallery of a folder's photos. Ctrl-C stops it; the same command goes on where it was.
async fn build(photos: &str, model: &str, gallery: &str) -> Outcome<()> {
    if !Path::new(gallery).exists() {
        Gallery::create_empty(gallery, model, &GalleryOptions::auto("shop 0.1"))?;
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(photos)? {
        let path = std::path::absolute(entry?.path())?;
        let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        files.push(PhotoFile::new(Photo::new(id).with_labels(["stock"]).with_source(&path), path));
    }
    let is_stopped = Arc::new(AtomicBool::new(false));
    let of_signal = Arc::clone(&is_stopped);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            of_signal.store(true, Ordering::Relaxed);
        }
    });
    let retriever = Retriever::open(gallery, RetrieverOptions::cpu().writable())?;
    let n_files = files.len();
    let ingest = move || {
        let tell = |n_done| eprintln!("{n_done} of {n_files} photos");
        let is_cancelled = || is_stopped.load(Ordering::Relaxed);
        retriever.ingest(&files, OnBroken::Skip, Progress::new(&tell), Cancel::new(&is_cancelled))
    };
    // Long work has a thread of its own.
    let done = tokio::task::spawn_blocking(ingest).await??;
    for broken in &done.broken {
        eprintln!("left out: {}", broken.reason);
    }
    println!("{} photos added, {} there already", done.n_added, done.n_unchanged);
    Ok(())
}

async fn serve(gallery: &str, address: &str) -> Outcome<()> {
    // Two drawings at a time; others may write to the gallery between our changes.
    let retriever = Retriever::open(gallery, RetrieverOptions::cpu().with_sessions(2).by_turns())?;
    let routes = Router::new()
        .route("/find", post(find))
        .route("/photos/{id}", post(add))
        .layer(DefaultBodyLimit::max(16 << 20))
        .with_state(Arc::new(retriever));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}

#[derive(Serialize)]
struct Hit {
    id: String,
    distance: f64,
    labels: Vec<String>,
}

type Failure = (StatusCode, String);

/// What is wrong is the client's or ours; the words say what.
fn failure(error: sketchfind::Error) -> Failure {
    let status = match error {
        sketchfind::Error::BrokenPicture { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        sketchfind::Error::Locked { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

/// The values of each name of a query string, where names may stand several times.
fn values_of(query: Option<String>) -> BTreeMap<String, Vec<String>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in query.iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('=')) {
        values.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    values
}

/// The photos that match the drawing in the body.
async fn find(
    State(retriever): State<Arc<Retriever>>,
    RawQuery(query): RawQuery,
    drawing: Bytes,
) -> Result<Json<Vec<Hit>>, Failure> {
    let values = values_of(query);
    let k = values.get("k").and_then(|k| k.first()?.parse().ok()).unwrap_or(10);
    let mut filter = Filter::everything();
    if let Some(labels) = values.get("label") {
        filter = filter.every_label(labels.clone());
    }
    let ask = move || {
        let drawing = Picture::of_bytes(drawing.into());
        retriever.query_pictures(std::iter::once(drawing), k, &filter, Progress::default(), Cancel::default())
    };
    let found = tokio::task::spawn_blocking(ask).await.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    let hits = found.map_err(failure)?.into_iter().flatten();
    let hit = |found: sketchfind::Match| Hit {
        id: found.id,
        distance: found.distance,
        labels: found.labels.into_iter().collect(),
    };
    Ok(Json(hits.map(hit).collect()))
}

/// Adds the photo in the body, or puts it in the place of the one that has its id.
async fn add(
    State(retriever): State<Arc<Retriever>>,
    InPath(id): InPath<String>,
    RawQuery(query): RawQuery,
    photo: Bytes,
) -> Result<StatusCode, Failure> {
    let mut about = Photo::new(id);
    if let Some(labels) = values_of(query).remove("label") {
        about = about.with_labels(labels);
    }
    let change = move || {
        let photo = std::iter::once(Picture::of_bytes(photo.into()));
        retriever.add_pictures(vec![about], photo, true, Progress::default(), Cancel::default())
    };
    // When this is answered the photo is found, and survives a crash.
    tokio::task::spawn_blocking(change)
        .await
        .map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?
        .map_err(failure)?;
    Ok(StatusCode::CREATED)
}
