//! Embeddings: the outputs of a network for a list of images, each under its id.

use std::path::{Path, PathBuf};

use ndarray::ArrayView2;
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, atomic};

/// A matrix `[N, D]` of embeddings and the id of each row. Ids are unique, sorted and not empty; every component is
/// finite; `D > 0`. `N` may be 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    ids: Vec<String>,
    width: usize,
    values: Vec<f32>,
}

/// One row of the CSV file that stands beside an `.npy` file of embeddings.
#[derive(Debug, Serialize, Deserialize)]
struct IdRow {
    row: usize,
    id: String,
}

impl Embeddings {
    /// Embeddings of `ids`, whose rows stand one after another in `values`. Rows are sorted by id.
    ///
    /// # Shapes
    /// `ids`: `[N]`, `values`: `[N * width]`, row-major.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where counts differ or an id is empty or repeated; [`Error::NotFinite`].
    pub fn new(ids: Vec<String>, width: usize, values: Vec<f32>) -> Result<Embeddings> {
        if width == 0 || values.len() != ids.len() * width {
            return Err(Error::Mismatch {
                what: "values of embeddings",
                expected: format!("{} rows of a width above 0 (here {width})", ids.len()),
                got: values.len().to_string(),
            });
        }
        if let Some(position) = values.iter().position(|v| !v.is_finite()) {
            let (row, value) = (position / width, f64::from(values[position]));
            return Err(Error::NotFinite { what: "an embedding", row, value });
        }
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by(|&a, &b| ids[a].cmp(&ids[b]));
        for pair in order.windows(2) {
            if ids[pair[0]] == ids[pair[1]] {
                return Err(Error::Mismatch {
                    what: "ids of embeddings",
                    expected: "each once".into(),
                    got: format!("'{}' twice", ids[pair[0]]),
                });
            }
        }
        if order.first().is_some_and(|&first| ids[first].is_empty()) {
            return Err(Error::Mismatch {
                what: "ids of embeddings",
                expected: "text".into(),
                got: "an empty id".into(),
            });
        }
        if order.is_sorted() {
            return Ok(Embeddings { ids, width, values });
        }
        let sorted = order.iter().flat_map(|&row| values[row * width..][..width].iter().copied()).collect();
        let ids = order.iter().map(|&row| ids[row].clone()).collect();
        Ok(Embeddings { ids, width, values: sorted })
    }

    /// The number of rows, N.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The width of a row, D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The ids, sorted, one a row.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Row `row`, `[D]`, or nothing beyond the last.
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        self.values.get(row * self.width..(row + 1) * self.width)
    }

    /// The row of `id`, found by bisection.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.ids.binary_search_by(|probe| probe.as_str().cmp(id)).ok()
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    /// All values, row-major, `[N * D]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Writes the matrix as a NumPy file `[N, D]` of little-endian float32, and the ids as CSV (`row,id`) beside
    /// it: `x.npy` and `x.csv`. The matrix is written first, so a CSV that is there has its matrix.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, npy_path: &Path) -> Result<()> {
        let matrix = ArrayView2::from_shape((self.len(), self.width), &self.values)
            .map_err(|e| Error::malformed(npy_path, e.to_string()))?;
        atomic::write_file(npy_path, |out| {
            matrix.write_npy(out).map_err(|e| Error::malformed(npy_path, e.to_string()))
        })?;
        let csv_path = ids_path(npy_path);
        atomic::write_file(&csv_path, |out| {
            let mut writer = csv::Writer::from_writer(out);
            for (row, id) in self.ids.iter().enumerate() {
                writer
                    .serialize(IdRow { row, id: id.clone() })
                    .map_err(|e| Error::malformed(&csv_path, e.to_string()))?;
            }
            writer.flush().map_err(Error::io("write", &csv_path))
        })
    }

    /// Reads what [`Embeddings::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Malformed`] with the file that is not what it should be, and what of it.
    pub fn load(npy_path: &Path) -> Result<Embeddings> {
        let file = std::fs::File::open(npy_path).map_err(Error::io("read", npy_path))?;
        let matrix = ndarray::Array2::<f32>::read_npy(std::io::BufReader::new(file)).map_err(|e| {
            Error::malformed(npy_path, format!("not a float32 matrix in NumPy's format: {e}"))
        })?;
        let csv_path = ids_path(npy_path);
        let csv_file = std::fs::File::open(&csv_path).map_err(Error::io("read", &csv_path))?;
        let mut reader = csv::Reader::from_reader(csv_file);
        let mut ids = Vec::with_capacity(matrix.nrows());
        for record in reader.deserialize() {
            let record: IdRow = record.map_err(|e| Error::malformed(&csv_path, e.to_string()))?;
            if record.row != ids.len() {
                let reason = format!("row {} stands where row {} is expected", record.row, ids.len());
                return Err(Error::malformed(&csv_path, reason));
            }
            ids.push(record.id);
        }
        if ids.len() != matrix.nrows() {
            let reason = format!("{} ids for the {} rows of the matrix beside it", ids.len(), matrix.nrows());
            return Err(Error::malformed(&csv_path, reason));
        }
        let width = matrix.ncols();
        // Fortran order is legal in the format; iterating gives logical order either way.
        let values = matrix.iter().copied().collect();
        Embeddings::new(ids, width, values).map_err(|e| {
            // What is wrong with ids stands in their file.
            let path = if matches!(e, Error::NotFinite { .. }) || width == 0 { npy_path } else { &csv_path };
            Error::malformed(path, e.to_string())
        })
    }
}

/// The CSV of ids that belongs to an `.npy` file: the same name with the ending `.csv`.
pub fn ids_path(npy_path: &Path) -> PathBuf {
    npy_path.with_extension("csv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_their_ids_into_order() {
        let e = Embeddings::new(vec!["b".into(), "a".into()], 2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(e.ids(), ["a", "b"]);
        assert_eq!(e.values(), [3.0, 4.0, 1.0, 2.0]);
        assert_eq!(e.find("b"), Some(1));
        assert_eq!(e.find("c"), None);
        assert_eq!(e.row(2), None);
    }

    #[test]
    fn refuses_what_is_not_valid() {
        let ids = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert!(Embeddings::new(ids(2), 2, vec![0.0; 3]).is_err());
        assert!(Embeddings::new(ids(2), 0, vec![]).is_err());
        assert!(Embeddings::new(vec!["a".into(), "a".into()], 1, vec![0.0; 2]).is_err());
        assert!(Embeddings::new(vec![String::new()], 1, vec![0.0]).is_err());
        let error = Embeddings::new(ids(2), 2, vec![0.0, 0.0, f32::NAN, 0.0]).unwrap_err();
        assert!(matches!(error, Error::NotFinite { row: 1, .. }));
    }

    #[test]
    fn files_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.npy");
        let ids = vec!["with,comma".to_owned(), "x".to_owned()];
        let e = Embeddings::new(ids, 2, vec![0.1, -2.0, 3.5, f32::MIN_POSITIVE]).unwrap();
        e.save(&path).unwrap();
        assert_eq!(Embeddings::load(&path).unwrap(), e);
        std::fs::write(ids_path(&path), "row,id\n0,x\n").unwrap();
        let message = Embeddings::load(&path).unwrap_err().to_string();
        assert!(message.contains("e.csv") && message.contains("1 ids for the 2 rows"), "{message}");
        std::fs::write(ids_path(&path), "row,id\n0,x\n1,x\n").unwrap();
        let message = Embeddings::load(&path).unwrap_err().to_string();
        assert!(message.contains("e.csv") && message.contains("'x' twice"), "{message}");
    }

    #[test]
    fn a_file_with_a_value_that_is_no_number_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.npy");
        let matrix = ndarray::arr2(&[[0.0_f32, 1.0], [f32::NAN, 1.0]]);
        matrix.write_npy(std::fs::File::create(&path).unwrap()).unwrap();
        std::fs::write(ids_path(&path), "row,id\n0,x\n1,y\n").unwrap();
        let message = Embeddings::load(&path).unwrap_err().to_string();
        assert!(
            message.contains("e.npy") && message.contains("NaN") && message.contains("row 1"),
            "{message}"
        );
    }
}
