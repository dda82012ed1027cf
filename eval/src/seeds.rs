//! A method that was trained several times, with different seeds: its mean, how sure it is over seeds and over
//! queries, and a paired comparison of two methods.
//!
//! Two sources of chance stand behind a score: the seed of training and the choice of test queries. The interval over
//! seeds holds for these queries and any seed; the interval over both resamples seeds and photos together, and is
//! the one that a claim about the method needs. With few seeds both are rough, and say so by their width.

use sketchfind_core::random::Stream;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::bootstrap::{Groups, central_interval};
use crate::estimate::Bootstrap;
use crate::paired::{check_same_questions, permutation_p_value};
use crate::result::QueryResult;
use crate::{Error, Result};

/// acc@1 over several runs of one method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeedSummary {
    /// The number of runs.
    pub n_seeds: usize,
    /// The number of queries of each.
    pub n_queries: usize,
    /// The mean of their acc@1.
    pub mean: f64,
    /// The sample standard deviation of their acc@1; nothing for a single run.
    pub deviation: Option<f64>,
    /// Student's interval of the mean over seeds, for these queries; nothing for a single run.
    pub over_seeds: Option<(f64, f64)>,
    /// The percentile bootstrap over seeds and photos, each photo drawn with all its queries.
    pub over_seeds_and_queries: (f64, f64),
}

/// The difference of acc@1 between two methods on the same queries with the same number of seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeedComparison {
    /// The mean acc@1 of B less that of A.
    pub difference: f64,
    /// The paired percentile bootstrap over seeds and photos. Seeds are drawn for both methods together: runs of
    /// one seed share what the seed decides, such as the held-out photos.
    pub over_seeds_and_queries: (f64, f64),
    /// The two-sided p-value of the permutation test over photos (see [`permutation_p_value`]): under the null hypothesis the
    /// sign of each photo's difference, averaged over seeds and its queries, is as good as the other. It is for these runs;
    /// that other seeds would differ is what the interval is for.
    pub p_value: f64,
}

/// Summarises the runs of one method.
///
/// # Errors
/// [`Error::Empty`] without runs or queries; [`Error::NotComparable`] where their queries differ;
/// [`Error::OutOfRange`] on settings of the bootstrap.
pub fn summarise_seeds(runs: &[Vec<QueryResult>], bootstrap: &Bootstrap) -> Result<SeedSummary> {
    let scores = Scores::new(runs, bootstrap)?;
    let (n_seeds, n_queries) = (runs.len(), scores.right[0].len());
    let each: Vec<f64> =
        scores.right.iter().map(|right| right.iter().sum::<f64>() / n_queries as f64).collect();
    let mean = each.iter().sum::<f64>() / n_seeds as f64;
    let deviation = (n_seeds > 1).then(|| {
        (each.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n_seeds - 1) as f64).sqrt()
    });
    let over_seeds = match deviation {
        Some(deviation) => {
            let student = StudentsT::new(0.0, 1.0, (n_seeds - 1) as f64)
                .map_err(|e| Error::NotComparable { reason: e.to_string() })?;
            let t = student.inverse_cdf(0.5 + bootstrap.confidence / 2.0);
            let half = t * deviation / (n_seeds as f64).sqrt();
            Some((mean - half, mean + half))
        }
        None => None,
    };
    let over_seeds_and_queries = interval(&[scores], bootstrap, "acc@1 over seeds")?;
    Ok(SeedSummary { n_seeds, n_queries, mean, deviation, over_seeds, over_seeds_and_queries })
}

/// The runs of two methods on one data set, with the same seeds.
#[derive(Clone, Copy, Debug)]
pub struct SeedPair<'a> {
    /// Those of method A.
    pub a: &'a [Vec<QueryResult>],
    /// Those of method B.
    pub b: &'a [Vec<QueryResult>],
}

/// Compares the runs of method B to those of method A, seed by seed.
///
/// # Errors
/// As [`summarise_seeds`]; [`Error::NotComparable`] where the numbers of runs differ.
pub fn compare_seeds(
    a: &[Vec<QueryResult>],
    b: &[Vec<QueryResult>],
    bootstrap: &Bootstrap,
) -> Result<SeedComparison> {
    compare_over_sets(&[SeedPair { a, b }], bootstrap)
}

/// Compares method B to method A on several data sets together: the mean of their differences, in which each data set counts
/// the same. Seeds and photos are resampled within each data set, and signs are flipped of all photos of all of them.
///
/// # Errors
/// As [`compare_seeds`]; [`Error::Empty`] without a data set.
pub fn compare_over_sets(pairs: &[SeedPair<'_>], bootstrap: &Bootstrap) -> Result<SeedComparison> {
    let mut sets = Vec::new();
    // Of each photo what it adds to the mean difference.
    let mut shares = Vec::new();
    for &SeedPair { a, b } in pairs {
        if a.len() != b.len() {
            let reason = format!("{} runs and {} runs", a.len(), b.len());
            return Err(Error::NotComparable { reason });
        }
        let (mut scores, others) = (Scores::new(a, bootstrap)?, Scores::new(b, bootstrap)?);
        check_same_questions(&a[0], &b[0])?;
        // From here on each query's score is its difference.
        for (of_a, of_b) in scores.right.iter_mut().zip(&others.right) {
            of_a.iter_mut().zip(of_b).for_each(|(a, b)| *a = b - *a);
        }
        let n_scores = (a.len() * a[0].len() * pairs.len()) as f64;
        shares.extend(scores.groups.members().iter().map(|members| {
            let total = |seed: &Vec<f64>| members.iter().map(|&query| seed[query]).sum::<f64>();
            scores.right.iter().map(total).sum::<f64>() / n_scores
        }));
        sets.push(scores);
    }
    Ok(SeedComparison {
        difference: shares.iter().sum(),
        over_seeds_and_queries: interval(&sets, bootstrap, "acc@1 difference over seeds")?,
        p_value: permutation_p_value(&shares, bootstrap.samples, bootstrap.seed),
    })
}

/// The interval of the mean over data sets of a method's acc@1, each data set being its runs: the percentile bootstrap over
/// seeds and photos within each.
///
/// # Errors
/// As [`summarise_seeds`]; [`Error::Empty`] without a data set.
pub fn interval_over_sets(sets: &[&[Vec<QueryResult>]], bootstrap: &Bootstrap) -> Result<(f64, f64)> {
    let scores = sets.iter().map(|runs| Scores::new(runs, bootstrap)).collect::<Result<Vec<_>>>()?;
    interval(&scores, bootstrap, "acc@1 over seeds")
}

/// The percentile bootstrap, over seeds and photos of each data set, of the mean over data sets of the mean score.
fn interval(sets: &[Scores], bootstrap: &Bootstrap, name: &str) -> Result<(f64, f64)> {
    if sets.is_empty() {
        return Err(Error::Empty { what: "data set" });
    }
    let mut values: Vec<f64> = (0..bootstrap.samples)
        .map(|sample| {
            let mut stream = Stream::new(bootstrap.seed, name, &[sample as u64]);
            sets.iter().map(|scores| scores.resampled_mean(&mut stream)).sum::<f64>() / sets.len() as f64
        })
        .collect();
    Ok(central_interval(&mut values, bootstrap.confidence))
}

/// A score for each query in each run: whether it is right, or a difference of that.
struct Scores {
    right: Vec<Vec<f64>>,
    groups: Groups,
}

impl Scores {
    fn new(runs: &[Vec<QueryResult>], bootstrap: &Bootstrap) -> Result<Scores> {
        bootstrap.check()?;
        let first = runs.first().filter(|run| !run.is_empty()).ok_or(Error::Empty { what: "query" })?;
        for run in runs {
            check_same_questions(first, run)?;
        }
        let right = |run: &Vec<QueryResult>| run.iter().map(|r| f64::from(u8::from(r.rank == 1))).collect();
        Ok(Scores { right: runs.iter().map(right).collect(), groups: Groups::by_photo(first) })
    }

    /// The mean score over seeds and photos that are drawn with replacement.
    fn resampled_mean(&self, stream: &mut Stream) -> f64 {
        let (n_seeds, n_photos) = (self.right.len(), self.groups.len());
        let seeds: Vec<usize> = (0..n_seeds).map(|_| stream.below(n_seeds)).collect();
        let (mut sum, mut n) = (0.0, 0);
        for _ in 0..n_photos {
            for &query in &self.groups.members()[stream.below(n_photos)] {
                sum += seeds.iter().map(|&seed| self.right[seed][query]).sum::<f64>();
                n += n_seeds;
            }
        }
        sum / f64::from(n.max(1) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    #[test]
    fn means_and_students_interval_by_hand() {
        // acc@1 of 0.5, 0.25 and 0.75: mean 0.5, deviation 0.25; t(0.975; 2) = 4.302653 (tabulated).
        let runs = [with_ranks(&[1, 1, 2, 3], 1), with_ranks(&[1, 2, 2, 3], 1), with_ranks(&[1, 1, 1, 3], 1)];
        let summary = summarise_seeds(&runs, &Bootstrap::default()).unwrap();
        assert_eq!((summary.n_seeds, summary.n_queries, summary.mean), (3, 4, 0.5));
        assert_eq!(summary.deviation, Some(0.25));
        let (low, high) = summary.over_seeds.unwrap();
        let half = 4.302_653 * 0.25 / 3.0_f64.sqrt();
        assert!((low - (0.5 - half)).abs() < 1e-6 && (high - (0.5 + half)).abs() < 1e-6);
        let (low, high) = summary.over_seeds_and_queries;
        assert!((0.0..0.5).contains(&low) && 0.5 < high && high <= 1.0);
        let single = summarise_seeds(&runs[..1], &Bootstrap::default()).unwrap();
        assert_eq!((single.deviation, single.over_seeds), (None, None));
    }

    /// With one seed and one query a photo, the test is over sign flips of 5 differences of +1: two of 2^5 are as
    /// large.
    #[test]
    fn the_permutation_test_by_hand() {
        let a = [with_ranks(&[2, 2, 2, 2, 2, 1], 1)];
        let b = [with_ranks(&[1, 1, 1, 1, 1, 1], 1)];
        let comparison = compare_seeds(&a, &b, &Bootstrap::default()).unwrap();
        assert!((comparison.difference - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(comparison.p_value, 2.0 / 32.0);
        let same = compare_seeds(&a, &a, &Bootstrap::default()).unwrap();
        assert_eq!((same.difference, same.p_value, same.over_seeds_and_queries), (0.0, 1.0, (0.0, 0.0)));
    }

    /// One run of each is what `paired` compares.
    #[test]
    fn of_one_seed_the_test_is_the_paired_one() {
        let ranks = |odd: usize, even: usize| -> Vec<usize> {
            (0..400).map(|query| if query % 7 < 3 { odd } else { even }).collect()
        };
        let (a, b) = (with_ranks(&ranks(1, 2), 4), with_ranks(&ranks(2, 1), 4));
        let paired = crate::paired::compare(&a, &b, &[1], &Bootstrap::default()).unwrap();
        let seeds = compare_seeds(&[a], &[b], &Bootstrap::default()).unwrap();
        assert_eq!(seeds.p_value, paired.get("acc@1").unwrap().p_value);
    }

    /// Two sets with two and three photos, all for B: two of 2^5 sign flips are as large; and the mean counts each set the
    /// same, however many queries it has.
    #[test]
    fn several_data_sets_by_hand() {
        let small = ([with_ranks(&[2, 2], 1)], [with_ranks(&[1, 1], 1)]);
        let large = ([with_ranks(&[2, 2, 2, 1], 1)], [with_ranks(&[1, 1, 1, 1], 1)]);
        let pairs = [&small, &large].map(|(a, b)| SeedPair { a, b });
        let comparison = compare_over_sets(&pairs, &Bootstrap::default()).unwrap();
        assert!((comparison.difference - (1.0 + 0.75) / 2.0).abs() < 1e-12);
        assert_eq!(comparison.p_value, 2.0 / 32.0);
        let (low, high) = comparison.over_seeds_and_queries;
        // The small set is 1 in all resamples, the large one between 0 and 1.
        assert!((0.5..0.875).contains(&low) && high == 1.0, "{low} to {high}");
        let one = compare_over_sets(&pairs[1..], &Bootstrap::default()).unwrap();
        assert_eq!(one, compare_seeds(&large.0, &large.1, &Bootstrap::default()).unwrap());
        let (low, high) = interval_over_sets(&[&small.1, &large.0], &Bootstrap::default()).unwrap();
        assert!((0.5..0.6).contains(&low) && (0.7..=1.0).contains(&high), "{low} to {high}");
        assert!(compare_over_sets(&[], &Bootstrap::default()).is_err());
    }

    /// The queries of a photo are flipped together: four queries of one photo are one observation, and never
    /// significant.
    #[test]
    fn queries_of_one_photo_count_as_one() {
        let a = [with_ranks(&[2, 2, 2, 2], 4)];
        let b = [with_ranks(&[1, 1, 1, 1], 4)];
        assert_eq!(compare_seeds(&a, &b, &Bootstrap::default()).unwrap().p_value, 1.0);
    }

    /// The interval over seeds and queries covers the true difference about as often as it says. Simulated: each
    /// run has its own skill, each query its own difficulty.
    #[test]
    fn the_interval_covers() {
        let (n_photos, n_seeds, n_trials) = (60, 5, 200);
        let mut n_covered = 0;
        for trial in 0..n_trials {
            let mut stream = Stream::new(trial, "trial", &[]);
            let difficulty: Vec<f64> = (0..n_photos).map(|_| stream.unit()).collect();
            let mut run = |skill: f64| {
                let skill = skill + 0.1 * (stream.unit() - 0.5);
                let ranks: Vec<usize> =
                    difficulty.iter().map(|_| if stream.unit() < skill { 1 } else { 2 }).collect();
                with_ranks(&ranks, 1)
            };
            let a: Vec<_> = (0..n_seeds).map(|_| run(0.4)).collect();
            let b: Vec<_> = (0..n_seeds).map(|_| run(0.6)).collect();
            let bootstrap = Bootstrap { samples: 300, seed: trial, confidence: 0.95 };
            let (low, high) = compare_seeds(&a, &b, &bootstrap).unwrap().over_seeds_and_queries;
            n_covered += usize::from(low <= 0.2 && 0.2 <= high);
        }
        assert!((0.88..=1.0).contains(&(n_covered as f64 / n_trials as f64)), "{n_covered}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let runs = [with_ranks(&[1, 2], 1)];
        assert!(compare_seeds(&runs, &[], &Bootstrap::default()).is_err());
        assert!(summarise_seeds(&[], &Bootstrap::default()).is_err());
        assert!(
            summarise_seeds(&[with_ranks(&[1, 2], 1), with_ranks(&[1], 1)], &Bootstrap::default()).is_err()
        );
    }
}
