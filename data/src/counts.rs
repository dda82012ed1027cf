//! The sizes of the field's benchmarks, to tell whether a download is whole and which variant it is.
//!
//! Papers differ in the number of V2's sketches: the printed percentages of some fit 666 test sketches on Shoe-V2 and
//! 311 on Chair-V2, the sets' own pages and others say 679 and 323 or 324. So every known variant is listed.

use sketchfind_core::dataset::{ManifestRow, Modality, Split};

/// Photos and sketches of the training and the test split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Training photos.
    pub train_photos: usize,
    /// Training sketches.
    pub train_sketches: usize,
    /// Test photos.
    pub test_photos: usize,
    /// Test sketches.
    pub test_sketches: usize,
}

impl Counts {
    const fn new(
        train_photos: usize,
        train_sketches: usize,
        test_photos: usize,
        test_sketches: usize,
    ) -> Counts {
        Counts { train_photos, train_sketches, test_photos, test_sketches }
    }

    /// Counts the rows of a manifest.
    pub fn of(rows: &[ManifestRow]) -> Counts {
        let count = |modality, split| {
            rows.iter().filter(|row| row.modality == modality && row.split == split).count()
        };
        Counts {
            train_photos: count(Modality::Photo, Split::Train),
            train_sketches: count(Modality::Sketch, Split::Train),
            test_photos: count(Modality::Photo, Split::Test),
            test_sketches: count(Modality::Sketch, Split::Test),
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { train_photos, train_sketches, test_photos, test_sketches } = self;
        write!(
            f,
            "{train_photos} photos and {train_sketches} sketches for training, {test_photos} and {test_sketches} for \
             testing"
        )
    }
}

/// The benchmarks and the variants of their sizes.
pub const KNOWN: [(&str, Counts); 10] = [
    ("QMUL-Shoe-V1", Counts::new(304, 304, 115, 115)),
    ("QMUL-Chair-V1", Counts::new(200, 200, 97, 97)),
    ("QMUL-Handbag", Counts::new(400, 400, 168, 168)),
    ("QMUL-Chair-V2", Counts::new(300, 952, 100, 323)),
    ("QMUL-Chair-V2", Counts::new(300, 952, 100, 324)),
    ("QMUL-Chair-V2", Counts::new(300, 964, 100, 311)),
    ("QMUL-Shoe-V2", Counts::new(1800, 5982, 200, 666)),
    ("QMUL-Shoe-V2", Counts::new(1800, 5969, 200, 679)),
    ("QMUL-Shoe-V2", Counts::new(1800, 6051, 200, 679)),
    ("QMUL-Shoe-V2", Counts::new(1800, 5982, 200, 679)),
];

/// The benchmark of exactly this size, if there is one.
pub fn benchmark_of(counts: Counts) -> Option<&'static str> {
    KNOWN.iter().find(|(_, known)| *known == counts).map(|(name, _)| *name)
}

/// What to tell of a download that should be a benchmark of QMUL's version `version` but has another size: the
/// benchmark that is nearest in its number of photos, with all its variants.
pub fn difference(counts: Counts, version: &str) -> String {
    let photos = |counts: Counts| counts.train_photos + counts.test_photos;
    let of_version = KNOWN.iter().filter(|(name, _)| is_version(name, version));
    let nearest = of_version.min_by_key(|(_, known)| photos(*known).abs_diff(photos(counts)));
    let Some((name, _)) = nearest else {
        return format!("it has {counts}");
    };
    let variants: Vec<String> =
        KNOWN.iter().filter(|(other, _)| other == name).map(|(_, known)| known.to_string()).collect();
    format!("it has {counts}; {name}, the nearest benchmark, has {}", variants.join("; or "))
}

fn is_version(name: &str, version: &str) -> bool {
    name.ends_with(version) || (version == "V1" && name == "QMUL-Handbag")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_recognised_and_differences_said() {
        assert_eq!(benchmark_of(Counts::new(200, 200, 97, 97)), Some("QMUL-Chair-V1"));
        assert_eq!(benchmark_of(Counts::new(200, 200, 97, 96)), None);
        let said = difference(Counts::new(300, 950, 100, 323), "V2");
        assert!(said.contains("950 sketches") && said.contains("QMUL-Chair-V2"), "{said}");
        assert!(said.contains("952") && said.contains("964"), "{said}");
        assert!(difference(Counts::new(390, 390, 160, 160), "V1").contains("QMUL-Handbag"));
    }
}
