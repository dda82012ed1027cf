//! The parameters of requests: what stands after the question mark, and how many texts of what length it may have.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};

use crate::problem::Problem;

/// The parameters after the question mark; what is not known is refused by name.
pub(super) fn parameters<T: serde::de::DeserializeOwned>(uri: &axum::http::Uri) -> Result<T, Problem> {
    let query = uri.query().unwrap_or_default();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    T::deserialize(serde_path_to_error::Deserializer::new(deserializer, &mut track)).map_err(|error| {
        let path = track.path().to_string();
        // What is unknown is named by the error itself, and has no place.
        let place = if path == "." { "the parameters".to_owned() } else { format!("the parameter '{path}'") };
        Problem::malformed(format!("{place}: {error}"))
    })
}

/// How many texts a parameter may have, and how long each may be.
pub(super) struct Texts {
    most: usize,
    /// In characters, as JSON Schema counts.
    longest: usize,
}

/// Labels of photos.
pub(super) const LABELS: Texts = Texts { most: 64, longest: 256 };
/// Ids of photos.
pub(super) const IDS: Texts = Texts { most: 1000, longest: 1024 };
/// Products of photos.
pub(super) const PRODUCTS: Texts = IDS;
/// The product of one photo.
pub(super) const PRODUCT: Texts = Texts { most: 1, ..IDS };

impl Texts {
    /// Checks how often `parameter` stands.
    ///
    /// # Errors
    /// 400 where it is too often.
    pub(super) fn check_count(&self, parameter: &str, n: usize) -> Result<(), Problem> {
        if n > self.most {
            let most = self.most;
            return Err(Problem::malformed(format!(
                "the parameter '{parameter}' stands {n} times, at most {most}"
            )));
        }
        Ok(())
    }

    /// Checks the values of `parameter`.
    ///
    /// # Errors
    /// 400 where there are too many, or one is empty or too long.
    pub(super) fn check(&self, parameter: &str, texts: &[String]) -> Result<(), Problem> {
        self.check_count(parameter, texts.len())?;
        let longest = &self.longest;
        match texts.iter().map(|text| text.chars().count()).find(|n| !(1..=*longest).contains(n)) {
            Some(n) => Err(Problem::malformed(format!(
                "the parameter '{parameter}' has a value of {n} characters, expected 1 to {longest}"
            ))),
            None => Ok(()),
        }
    }

    /// Of texts with `shortest` characters at least.
    pub(super) fn schema(&self, shortest: usize) -> ArrayBuilder {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        let text = text.min_length(Some(shortest)).max_length(Some(self.longest));
        ArrayBuilder::new().items(text).max_items(Some(self.most))
    }
}
