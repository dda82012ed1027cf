//! `POST /api/v1/query`: a sketch in, photos out.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use sketchfind::Filter;
use sketchfind_core::frame;
use sketchfind_core::image::{DecodeLimits, Image};
use sketchfind_core::strokes::{LARGEST, Raster, Strokes};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::address::address;
use super::bodies::{ImageFile, is_image, media_type, other_type, read};
use super::parameters::{IDS, LABELS, PRODUCTS, parameters};
use super::refusals::Refusals;
use crate::gate::on_thread;
use crate::problem::{Problem, ProblemBody};
use crate::retrieval::Question;
use crate::state::App;

/// How many photos an answer has, where the client does not say.
const DEFAULT_K: u32 = 12;

/// What is asked for besides the sketch.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// How many photos, or products, 12 by default. The server's limit is 100 unless it was started with another.
    #[param(minimum = 1, maximum = 100, example = 12)]
    k: Option<u32>,
    /// Only photos with every one of these labels.
    #[serde(default)]
    #[param(schema_with = labels_schema)]
    label: Vec<String>,
    /// Only photos with at least one of these labels.
    #[serde(default)]
    #[param(schema_with = labels_schema)]
    any_label: Vec<String>,
    /// No photo with one of these labels.
    #[serde(default)]
    #[param(schema_with = labels_schema)]
    not_label: Vec<String>,
    /// Only these photos.
    #[serde(default)]
    #[param(schema_with = ids_schema)]
    id: Vec<String>,
    /// None of these photos.
    #[serde(default)]
    #[param(schema_with = ids_schema)]
    not_id: Vec<String>,
    /// Only photos of these products.
    #[serde(default)]
    #[param(schema_with = products_schema)]
    product: Vec<String>,
    /// No photos of these products.
    #[serde(default)]
    #[param(schema_with = products_schema)]
    not_product: Vec<String>,
    /// Find products in the place of photos, each by the nearest of its photos that pass. A photo without a product is one of
    /// its own.
    #[serde(default)]
    by_product: bool,
    /// Answer that nothing fits where the score of the answer is below this. Needs a server that was started with a calibration.
    #[param(minimum = 0, maximum = 1)]
    min_score: Option<f64>,
}

impl Parameters {
    fn filter(self) -> Result<Filter, Problem> {
        LABELS.check("label", &self.label)?;
        LABELS.check("any_label", &self.any_label)?;
        LABELS.check("not_label", &self.not_label)?;
        IDS.check("id", &self.id)?;
        IDS.check("not_id", &self.not_id)?;
        PRODUCTS.check("product", &self.product)?;
        PRODUCTS.check("not_product", &self.not_product)?;
        let mut filter = Filter::everything()
            .every_label(self.label)
            .without_label(self.not_label)
            .without_ids(self.not_id)
            .without_products(self.not_product);
        // Without the parameter, all; an empty list would pass none.
        if !self.any_label.is_empty() {
            filter = filter.any_label(self.any_label);
        }
        if !self.id.is_empty() {
            filter = filter.only_ids(self.id);
        }
        if !self.product.is_empty() {
            filter = filter.only_products(self.product);
        }
        Ok(filter)
    }
}

fn labels_schema() -> RefOr<Schema> {
    LABELS.schema(1).into()
}

fn ids_schema() -> RefOr<Schema> {
    IDS.schema(1).into()
}

fn products_schema() -> RefOr<Schema> {
    PRODUCTS.schema(1).into()
}

/// What is asked with where the body is JSON: a drawing, or a photo of the gallery. Exactly one of them, which its deserialisation
/// and its schema both say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default, deserialize_with = "present")]
    strokes: Option<DrawnStrokes>,
    #[serde(default, deserialize_with = "present")]
    photo: Option<String>,
}

/// A value that is there is no null.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl PartialSchema for Asked {
    fn schema() -> RefOr<Schema> {
        let of = |name: &str| Ref::from_schema_name(name);
        OneOfBuilder::new().item(of("Drawing")).item(of("LikePhoto")).into()
    }
}

impl ToSchema for Asked {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Drawing::name().into_owned(), Drawing::schema()));
        schemas.push((LikePhoto::name().into_owned(), LikePhoto::schema()));
        Drawing::schemas(schemas);
    }
}

/// A photo of the gallery, which is searched with by the embedding that the gallery holds. It is the first of its own ranking,
/// unless `not_id` leaves it out. Its hits have no score.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"photo": "shoe-17.jpg"}))]
struct LikePhoto {
    /// The photo's id.
    #[expect(dead_code, reason = "it stands for its schema only")]
    #[schema(min_length = 1, max_length = 1024)]
    photo: String,
}

/// A sketch as pen movements. The server draws it as evaluation draws vector sketches: black on white, 256 x 256 pixels,
/// lines of two pixels unless the server was started with another width.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"strokes": {"canvas": [512, 512], "polylines": [[[100, 100], [400, 120], [250, 400], [100, 100]]]}}))]
pub(super) struct Drawing {
    #[expect(dead_code, reason = "it stands for its schema only")]
    strokes: DrawnStrokes,
}

/// Polylines on a canvas.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrawnStrokes {
    /// Width and height of the canvas, in the unit of the points.
    #[schema(schema_with = canvas_schema)]
    canvas: [f64; 2],
    /// For each time that the pen was down, the points x, y; y grows downwards.
    #[schema(schema_with = polylines_schema)]
    polylines: Vec<Vec<[f64; 2]>>,
}

impl DrawnStrokes {
    /// The strokes, in what they are drawn with.
    fn checked(self) -> Result<Strokes, Problem> {
        Strokes::drawn(self.canvas, &self.polylines)
            .map_err(|error| Problem::malformed(format!("the drawing's strokes: {error}")))
    }
}

fn number(minimum: f64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Number))
        .minimum(Some(minimum))
        .maximum(Some(LARGEST))
}

fn pair(of: ObjectBuilder) -> ArrayBuilder {
    ArrayBuilder::new().items(of).min_items(Some(2)).max_items(Some(2))
}

fn canvas_schema() -> RefOr<Schema> {
    pair(number(1.0)).into()
}

fn polylines_schema() -> RefOr<Schema> {
    let polyline = ArrayBuilder::new().items(pair(number(-LARGEST))).min_items(Some(1));
    ArrayBuilder::new().items(polyline).min_items(Some(1)).into()
}

/// Photos for a sketch, the best first.
#[derive(Serialize, ToSchema)]
pub(super) struct Answer {
    hits: Vec<Hit>,
    /// The number of photos in the gallery.
    n_photos: usize,
    /// The probability that the photo that was drawn is among the first ten, where the server has a calibration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    score: Option<f64>,
    /// Why there are no hits, where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    nothing: Option<NoHits>,
    took_ms: Took,
}

/// Why no photo was found.
#[derive(Serialize, ToSchema)]
struct NoHits {
    /// For programs: `empty_gallery`, `no_such_label`, `no_such_product`, `no_such_id`, `filter` or `no_fit`.
    #[schema(example = "no_such_label")]
    code: &'static str,
    /// For people.
    detail: String,
}

/// A photo that matches.
#[derive(Serialize, ToSchema)]
struct Hit {
    /// Its place, from 1.
    #[schema(minimum = 1)]
    rank: usize,
    id: String,
    /// The distance to the sketch by the model's distance; smaller is more alike.
    #[schema(minimum = 0)]
    distance: f64,
    /// The probability that it is the one that was drawn, or that its product is, where the server has a calibration; of the
    /// first ten photos.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    score: Option<f64>,
    /// Where its file is, relative to the server's root; `?size=` makes it small.
    #[schema(example = "photos/shoe-17.jpg")]
    photo: String,
    labels: Vec<String>,
    /// The product that it shows, if the gallery was told of one.
    product: Option<String>,
}

/// Where the time went, in milliseconds.
#[derive(Serialize, ToSchema)]
struct Took {
    /// Decoding the image, or drawing the strokes.
    #[schema(minimum = 0)]
    read: f64,
    /// Preprocessing and network.
    #[schema(minimum = 0)]
    embed: f64,
    #[schema(minimum = 0)]
    search: f64,
    /// From the request's body to the answer, with the wait for its turn.
    #[schema(minimum = 0)]
    total: f64,
}

/// Rank the photos for a sketch, or for one of them
///
/// The body is a drawing or a photo's id as JSON, or an image's file: JPEG, PNG, WebP, GIF, BMP or TIFF. A drawing is brought into
/// the frame that the model was trained with, wherever it lies on its page.
#[utoipa::path(post, path = "/api/v1/query", tag = "search",
    params(Parameters),
    request_body(content(
        (Asked = "application/json"),
        (ImageFile = "image/png"),
        (ImageFile = "image/jpeg"),
        (ImageFile = "image/webp"),
        (ImageFile = "image/gif"),
        (ImageFile = "image/bmp"),
        (ImageFile = "image/tiff"),
    )),
    responses(
        (status = 200, description = "The ranking", body = Answer),
        (status = 404, description = "The photo to search with is not in the gallery", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A score is asked for, and the server has no calibration or the query is a photo", body = ProblemBody,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn query(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Answer>, Problem> {
    let parameters: Parameters = parameters(&uri)?;
    let k = parameters.k.unwrap_or(DEFAULT_K);
    if !(1..=app.limits.k).contains(&k) {
        return Err(Problem::malformed(format!("the parameter 'k' is {k}, expected 1 to {}", app.limits.k)));
    }
    let (by_product, min_score) = (parameters.by_product, parameters.min_score);
    if let Some(score) = min_score.filter(|score| !(0.0..=1.0).contains(score)) {
        return Err(Problem::malformed(format!("the parameter 'min_score' is {score}, expected 0 to 1")));
    }
    let question = Question { k: k as usize, filter: parameters.filter()?, by_product, min_score };
    let subject = Subject::of(&media_type(&headers), read(&app, &headers, body)?)?;
    // Nobody waits in line for a gallery that is not open yet.
    app.retrieval()?;
    let started = Instant::now();
    let pass = app.queries.enter().await?;
    // After the wait, in which the gallery may have been replaced.
    let retrieval = app.retrieval()?;
    let (limits, raster, metrics) = (app.limits, app.raster, app.metrics.clone());
    let answer = on_thread(pass, move |abandoned| {
        let begun = Instant::now();
        let (reading, found) = match &subject {
            Subject::Photo(id) => (Duration::ZERO, retrieval.find_like(id, &question)?),
            Subject::Sketch(sketch) => {
                let image = sketch.image(&raster, retrieval.sketch_share(), limits.points, limits.pixels)?;
                let reading = begun.elapsed();
                let found = retrieval.find(&image, &question, abandoned)?;
                metrics.stage("read", reading);
                metrics.stage("embed", found.embedding);
                (reading, found)
            }
        };
        metrics.stage("search", found.searching);
        let ms = |duration: Duration| duration.as_micros() as f64 / 1000.0;
        let answer = found.answer;
        let hits = answer.matches.into_iter().map(|hit| Hit {
            rank: hit.rank,
            photo: address(&hit.id),
            id: hit.id,
            distance: hit.distance,
            score: hit.score,
            labels: hit.labels.into_iter().collect(),
            product: hit.product,
        });
        Ok(Answer {
            hits: hits.collect(),
            n_photos: answer.n_photos,
            score: answer.score,
            nothing: answer
                .nothing
                .map(|nothing| NoHits { code: nothing.code(), detail: nothing.to_string() }),
            took_ms: Took {
                read: ms(reading),
                embed: ms(found.embedding),
                search: ms(found.searching),
                total: ms(started.elapsed()),
            },
        })
    });
    Ok(Json(answer.await?))
}

/// What is searched with.
enum Subject {
    Sketch(Sketch),
    /// A photo of the gallery, by its id.
    Photo(String),
}

/// A drawing.
enum Sketch {
    Strokes(Strokes),
    Image(Bytes),
}

impl Subject {
    fn of(media_type: &str, body: Bytes) -> Result<Subject, Problem> {
        if media_type == "application/json" {
            return asked(&body);
        }
        if is_image(media_type) {
            return Ok(Subject::Sketch(Sketch::Image(body)));
        }
        Err(other_type(media_type, "a drawing or a photo's id as application/json, or "))
    }
}

impl Sketch {
    /// The picture. Strokes are drawn where `share` says, which is sharper than to move what is drawn.
    fn image(
        &self,
        raster: &Raster,
        share: Option<f32>,
        most_points: usize,
        most_pixels: u64,
    ) -> Result<Image, Problem> {
        match self {
            Sketch::Image(bytes) => {
                frame::decode_sketch(bytes, "in the body", DecodeLimits { max_pixels: most_pixels })
                    .map_err(|error| Problem::unusable("image", error.to_string()))
            }
            Sketch::Strokes(strokes) => picture(strokes, raster, share, most_points),
        }
    }
}

/// The picture of strokes, drawn where `share` says.
pub(super) fn picture(
    strokes: &Strokes,
    raster: &Raster,
    share: Option<f32>,
    most_points: usize,
) -> Result<Image, Problem> {
    let n_points = strokes.n_points();
    if n_points > most_points {
        let detail = format!("the drawing has {n_points} points, at most {most_points} are taken");
        return Err(Problem::unusable("too_many_points", detail));
    }
    strokes.picture(raster, share).map_err(|error| Problem::unusable("drawing", error.to_string()))
}

/// The drawing in a body that can be nothing else.
pub(super) fn drawing(media_type: &str, body: &[u8]) -> Result<Strokes, Problem> {
    if media_type != "application/json" {
        let detail = "the body's Content-Type is another than that of a drawing, application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", detail));
    }
    match asked(body)? {
        Subject::Sketch(Sketch::Strokes(strokes)) => Ok(strokes),
        _ => Err(Problem::malformed("the body has a photo, expected 'strokes'")),
    }
}

fn asked(body: &[u8]) -> Result<Subject, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let asked: Asked = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        match error.path().to_string().as_str() {
            "." => Problem::malformed(format!("the body: {}", error.inner())),
            path => Problem::malformed(format!("the body, at '{path}': {}", error.inner())),
        }
    })?;
    json.end().map_err(|error| Problem::malformed(format!("the body: {error}")))?;
    match asked {
        Asked { strokes: Some(strokes), photo: None } => {
            Ok(Subject::Sketch(Sketch::Strokes(strokes.checked()?)))
        }
        Asked { strokes: None, photo: Some(photo) } => {
            IDS.check("photo", std::slice::from_ref(&photo))?;
            Ok(Subject::Photo(photo))
        }
        Asked { strokes: Some(_), photo: Some(_) } => {
            Err(Problem::malformed("the body has 'strokes' and 'photo', expected one of them"))
        }
        Asked { strokes: None, photo: None } => {
            Err(Problem::malformed("the body has neither 'strokes' nor 'photo', expected one of them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        let Err(problem) = asked(body.as_bytes()) else { panic!("{body} was taken") };
        format!("{problem:?}")
    }

    #[test]
    fn drawings_are_checked() {
        let of = |canvas: &str, polylines: &str| {
            format!(r#"{{"strokes": {{"canvas": {canvas}, "polylines": {polylines}}}}}"#)
        };
        let body = of("[10, 20.5]", "[[[1, 2]], [[3, 4], [5.5, -6]]]");
        let Ok(Subject::Sketch(Sketch::Strokes(drawn))) = asked(body.as_bytes()) else { panic!("{body}") };
        assert_eq!(drawn.canvas, [10.0, 20.5]);
        assert_eq!(drawn.polylines[1], [[3.0, 4.0], [5.5, -6.0]]);
        for (body, reason) in [
            (of("[0, 1]", "[[[1, 2]]]"), "a side of a drawing's canvas is 0"),
            (of("[1, 1e300]", "[[[1, 2]]]"), "a side of a drawing's canvas is 1e300"),
            (of("[1]", "[[[1, 2]]]"), "the body, at 'strokes.canvas"),
            (of("[9, 9]", "[]"), "number of a drawing's polylines is 0, expected at least 1"),
            (of("[9, 9]", "[[]]"), "is 0 in polyline 1, expected at least 1"),
            (of("[9, 9]", "[[[1, 100001]]]"), "a coordinate of a drawing is 100001"),
            (of("[9, 9]", "[[[1, 2, 3]]]"), "the body, at 'strokes.polylines[0][0]"),
            (of("[9, 9]", "[[[1, null]]]"), "the body, at 'strokes.polylines[0][0][1]'"),
            (
                r#"{"strokes": {"canvas": [9, 9], "polylines": [[[1, 2]]], "ink": 1}}"#.into(),
                "unknown field `ink`",
            ),
            ("[".repeat(100_000), "the body"),
            ("{}".into(), "neither 'strokes' nor 'photo'"),
            (r#"{"photo": null}"#.into(), "the body, at 'photo'"),
            (r#"{"photo": ""}"#.into(), "0 characters, expected 1 to 1024"),
            (
                r#"{"photo": "a", "strokes": {"canvas": [9, 9], "polylines": [[[1, 2]]]}}"#.into(),
                "expected one of",
            ),
            (r#"{"photo": "a", "size": 2}"#.into(), "unknown field `size`"),
        ] {
            let found = refusal(&body);
            assert!(found.contains(reason), "{found}");
        }
    }

    /// Coordinates far outside of the canvas cost no more than others.
    #[test]
    fn a_giant_scribble_is_drawn_in_time() {
        let far: Vec<[f32; 2]> =
            (0..5000).map(|i| [if i % 2 == 0 { -1e5 } else { 1e5 }, i as f32 * 40.0 - 1e5]).collect();
        let scribble = Strokes { canvas: [1.0, 1.0], polylines: vec![far] };
        let started = Instant::now();
        Sketch::Strokes(scribble).image(&Raster::default(), None, 50_000, 1).unwrap();
        assert!(started.elapsed().as_secs_f64() < 5.0, "{:?}", started.elapsed());
    }
}
