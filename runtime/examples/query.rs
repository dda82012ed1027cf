//! Finds the photos of a gallery that match a sketch: `query GALLERY SKETCH`.
// An example's output is its purpose.
#![allow(clippy::print_stdout)]

use std::error::Error;

use sketchfind::{DecodeLimits, EmbedderOptions, Image, Retriever};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [gallery, sketch] = arguments.as_slice() else {
        return Err("usage: query GALLERY SKETCH".into());
    };
    let retriever = Retriever::open(gallery, EmbedderOptions::cpu())?;
    let sketch = Image::open(sketch, DecodeLimits::default())?;
    for found in retriever.query(&sketch, 10)? {
        println!("{}\t{:.6}\t{}", found.rank, found.distance, found.id);
    }
    Ok(())
}
