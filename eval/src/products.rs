//! Ranks of products, where several photos show one: a sketch has found what it depicts when any of the product's photos is
//! the nearest.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use crate::Result;
use crate::accuracy::{rank_one, rows_of_truths};
use crate::result::QueryResult;

/// Products that were ranked. Each goes by the id of its first photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The products, sorted.
    pub products: Vec<String>,
    /// One result a query, in order of ids; whatever they name and count is a product. Queries of one product are resampled
    /// together.
    pub results: Vec<QueryResult>,
}

/// [`rank_queries`](crate::rank_queries) by product: a product is as far from a query as the nearest of its photos, and a
/// query's matches are the products of its matches. A photo that `product_of` does not have is a product of its own.
///
/// # Shapes
/// `queries`: `[n_queries, D]`, `gallery`: `[n_gallery, D]`; `truth` as [`rank_queries`](crate::rank_queries) has it.
///
/// # Errors
/// Those of [`rank_queries`](crate::rank_queries).
pub fn rank_products(
    queries: &Embeddings,
    gallery: &Embeddings,
    truth: &BTreeMap<String, Vec<String>>,
    product_of: &BTreeMap<String, String>,
    distance: Distance,
) -> Result<Ranked> {
    let truths = rows_of_truths(queries, gallery, truth)?;
    // Rows are in order of their ids, and so are the first photos of products.
    let (mut products, mut number_of) = (Vec::new(), BTreeMap::new());
    let mut numbers = Vec::with_capacity(gallery.len());
    for id in gallery.ids() {
        let mut next = || {
            products.push(id.clone());
            products.len() - 1
        };
        numbers.push(match product_of.get(id) {
            Some(product) => *number_of.entry(product).or_insert_with(next),
            None => next(),
        });
    }
    let rank = |row: usize| {
        let query = queries.row(row).unwrap_or_default();
        let mut distances = vec![f64::NAN; products.len()];
        for (&number, photo) in numbers.iter().zip(gallery.rows()) {
            // The smaller one; NaN only where there is no other.
            distances[number] = distances[number].min(distance.between(query, photo));
        }
        let mut matches: Vec<usize> = Vec::new();
        for &photo in &truths[row] {
            if !matches.contains(&numbers[photo]) {
                matches.push(numbers[photo]);
            }
        }
        rank_one(&queries.ids()[row], &distances, &matches, &products)
    };
    let results = (0..queries.len()).into_par_iter().map(rank).collect();
    Ok(Ranked { products, results })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rank_queries;

    fn embeddings(prefix: &str, values: &[f32]) -> Embeddings {
        let ids = (0..values.len()).map(|row| format!("{prefix}{row:03}")).collect();
        Embeddings::new(ids, 1, values.to_vec()).unwrap()
    }

    fn truth(of: &[usize]) -> BTreeMap<String, Vec<String>> {
        of.iter().enumerate().map(|(row, of)| (format!("q{row:03}"), vec![format!("g{of:03}")])).collect()
    }

    #[test]
    fn a_product_is_as_near_as_its_nearest_photo() {
        let gallery = embeddings("g", &[0.0, 10.0, 4.0, 30.0]);
        let product_of = [("g000", "boot"), ("g001", "boot"), ("g003", "shoe")];
        let product_of = product_of.map(|(id, product)| (id.to_owned(), product.to_owned())).into();
        let queries = embeddings("q", &[9.0, 3.0, 12.0]);
        // The second depicts the boot's other photo, the third the shoe.
        let ranked =
            rank_products(&queries, &gallery, &truth(&[0, 0, 3]), &product_of, Distance::Mse).unwrap();
        assert_eq!(ranked.products, ["g000", "g002", "g003"]);
        let of = |row: usize| {
            let one = &ranked.results[row];
            (one.truth_id.as_str(), one.rank, one.truth_distance, one.n_gallery, one.n_matches)
        };
        assert_eq!(of(0), ("g000", 1, 1.0, 3, 1));
        assert_eq!(of(1), ("g000", 2, 9.0, 3, 1));
        assert_eq!(of(2), ("g003", 3, 324.0, 3, 1));
        assert_eq!(ranked.results[0].top, ["g000", "g002", "g003"]);
        // Several matches of one product are one match.
        let both = BTreeMap::from([("q000".to_owned(), vec!["g001".to_owned(), "g000".to_owned()])]);
        let one = embeddings("q", &[9.0]);
        let ranked = rank_products(&one, &gallery, &both, &product_of, Distance::Mse).unwrap();
        assert_eq!((ranked.results[0].n_matches, ranked.results[0].rank), (1, 1));
    }

    proptest! {
        /// Against the ranking of the nearest photo of each product alone, one query after another.
        #[test]
        fn ranks_are_those_among_the_nearest_photos(
            photos in proptest::collection::vec((-20_i8..20, 0_usize..5), 1..25),
            queries in proptest::collection::vec((-20_i8..20, 0_usize..25), 1..8),
        ) {
            let values: Vec<f32> = photos.iter().map(|&(value, _)| value.into()).collect();
            let gallery = embeddings("g", &values);
            // Of the first product are photos that have none.
            let product_of: BTreeMap<String, String> = photos
                .iter()
                .enumerate()
                .filter(|(_, (_, product))| *product > 0)
                .map(|(row, (_, product))| (format!("g{row:03}"), format!("p{product}")))
                .collect();
            let of: Vec<usize> = queries.iter().map(|&(_, of)| of % photos.len()).collect();
            let values: Vec<f32> = queries.iter().map(|&(value, _)| value.into()).collect();
            let asked = embeddings("q", &values);
            let ranked = rank_products(&asked, &gallery, &truth(&of), &product_of, Distance::Mse).unwrap();
            for (row, result) in ranked.results.iter().enumerate() {
                let name = |photo: usize| product_of.get(&format!("g{photo:03}")).cloned();
                let mut nearest: BTreeMap<(Option<String>, usize), f32> = BTreeMap::new();
                for (photo, &(value, _)) in photos.iter().enumerate() {
                    let own = name(photo);
                    let key = (own.clone(), if own.is_some() { 0 } else { photo });
                    let offset = f32::from(value) - f32::from(queries[row].0);
                    let best = nearest.entry(key).or_insert(offset);
                    if offset.abs() < best.abs() {
                        *best = offset;
                    }
                }
                let own = name(of[row]);
                let key = (own.clone(), if own.is_some() { 0 } else { of[row] });
                let place = nearest.keys().position(|other| *other == key).unwrap();
                let offsets: Vec<f32> = nearest.values().copied().collect();
                let zero = BTreeMap::from([("q000".to_owned(), vec![format!("g{place:03}")])]);
                let alone =
                    rank_queries(&embeddings("q", &[0.0]), &embeddings("g", &offsets), &zero, Distance::Mse);
                let alone = &alone.unwrap()[0];
                prop_assert_eq!(
                    (result.rank, result.n_tied, result.n_gallery, result.truth_distance),
                    (alone.rank, alone.n_tied, alone.n_gallery, alone.truth_distance)
                );
            }
        }
    }
}
