//! Products of photos for `sketchfind eval --by-product`.

use std::collections::BTreeMap;

use anyhow::Result;
use sketchfind_core::Error;
use sketchfind_core::dataset::{Dataset, Split};

/// The product of each photo of the split that has one, in the manifest's column.
pub(super) fn read(dataset: &Dataset, split: Split) -> Result<BTreeMap<String, String>> {
    let photos = dataset.photos_in(split);
    let products = photos.filter_map(|photo| Some((photo.id.clone(), photo.product.clone()?)));
    let product_of: BTreeMap<String, String> = products.collect();
    if product_of.is_empty() {
        let reason = format!("no photo of its {split} split has a value in a column 'product'");
        return Err(Error::malformed(dataset.manifest(), reason).into());
    }
    Ok(product_of)
}
