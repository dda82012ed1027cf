//! Where training images come from: a data set of sketches and photos, a folder of photos alone, or both.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sketchfind_core::dataset::Dataset;

use crate::{Error, Result};

/// Where training images come from. One of the two is there at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSource {
    /// A data set: a folder with a manifest, or the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Photos without sketches: a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photos: Option<PathBuf>,
}

impl ImageSource {
    /// The images of a data set.
    pub fn of_data(path: &Path) -> ImageSource {
        ImageSource { data: Some(path.to_owned()), photos: None }
    }

    /// Reads the data set, and adds the photos to its training split.
    ///
    /// # Errors
    /// Those of [`Dataset::load`] and [`Dataset::of_photos`]; [`Error::Core`] where an id is in both.
    pub fn load(&self) -> Result<Dataset> {
        match (&self.data, &self.photos) {
            (Some(data), None) => Ok(Dataset::load(data)?),
            (None, Some(photos)) => Ok(Dataset::of_photos(photos)?),
            (Some(data), Some(photos)) => Ok(Dataset::load(data)?.with(Dataset::of_photos(photos)?)?),
            (None, None) => Err(Error::Data {
                path: PathBuf::new(),
                reason: "neither a data set nor a folder of photos is given".into(),
            }),
        }
    }

    /// The same places, wherever the program is run.
    ///
    /// # Errors
    /// [`Error::Core`] where the working directory is gone.
    pub fn absolute(&self) -> Result<ImageSource> {
        let absolute = |path: &Option<PathBuf>| -> Result<Option<PathBuf>> {
            let Some(path) = path else { return Ok(None) };
            Ok(Some(std::path::absolute(path).map_err(sketchfind_core::Error::io("read", path))?))
        };
        Ok(ImageSource { data: absolute(&self.data)?, photos: absolute(&self.photos)? })
    }
}
