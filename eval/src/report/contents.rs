//! What a report holds.

use std::collections::BTreeMap;

use crate::closeness::{closeness, summarise_closeness};
use crate::early::EarlyRetrieval;
use crate::estimate::{Bootstrap, Estimate};
use crate::human::HumanAgreement;
use crate::map::EmbeddingMap;
use crate::neighbours::{Neighbourhood, Space};
use crate::result::QueryResult;
use crate::robustness::Robustness;
use crate::summary::{ACCURACY_CUTOFFS, LabelSummary, Summary, summarise_at};
use crate::{Error, Result};

/// Which model, data and tool a report comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// The program and its version.
    pub tool: String,
    /// The model's name, for people.
    pub model: String,
    /// SHA-256 of the model's network file.
    pub model_sha256: String,
    /// The data set's fingerprint.
    pub dataset_sha256: String,
    /// The split that was evaluated.
    pub split: String,
    /// The distance.
    pub distance: String,
}

/// The fixed photo network that closeness and neighbourhoods are measured in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Its name, for people.
    pub model: String,
    /// SHA-256 of its network file.
    pub model_sha256: String,
}

/// An evaluation: per-query results, their summary, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub(super) provenance: Provenance,
    pub(super) results: Vec<QueryResult>,
    pub(super) summary: Summary,
    /// Empty where it is not known.
    pub(super) gallery: Vec<String>,
    pub(super) reference: Option<Reference>,
}

/// A small picture for the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The bytes of a JPEG file.
    pub jpeg: Vec<u8>,
    /// Its width and height in pixels.
    pub size: [u32; 2],
}

/// What a report holds beside its results and their summary.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Figures by label.
    pub labels: Vec<LabelSummary>,
    /// Neighbourhood-ranking statistics.
    pub neighbours: Option<Neighbourhood>,
    /// Agreement with people.
    pub human: Option<HumanAgreement>,
    /// On-the-fly retrieval.
    pub early: Option<EarlyRetrieval>,
    /// Robustness to changed sketches.
    pub robustness: Vec<Robustness>,
    /// The embedding map.
    pub map: Option<EmbeddingMap>,
    /// Another model's report on the same queries, for a comparison side by side.
    pub against: Option<Report>,
    /// Pictures by the ids of sketches and photos; [`pictured`](super::pictured) says which ids the page shows.
    pub pictures: BTreeMap<String, Picture>,
}

impl Extras {
    /// Figures that have a row of `summary.csv` beside the summary's own.
    pub(super) fn estimates(&self) -> impl Iterator<Item = &Estimate> {
        let human = self.human.iter().map(|human| &human.agreement);
        let early = self.early.iter().flat_map(|early| &early.areas);
        let robustness = self.robustness.iter().flat_map(|change| [&change.acc1, &change.drop]);
        human.chain(early).chain(robustness)
    }
}

impl Report {
    /// A report on `results`, summarised with `bootstrap`.
    ///
    /// # Errors
    /// Those of [`crate::summarise`].
    pub fn new(provenance: Provenance, results: Vec<QueryResult>, bootstrap: &Bootstrap) -> Result<Report> {
        Report::at(provenance, results, &ACCURACY_CUTOFFS, bootstrap)
    }

    /// A report on `results` with acc@k at the given k.
    ///
    /// # Errors
    /// Those of [`summarise_at`].
    pub fn at(
        provenance: Provenance,
        results: Vec<QueryResult>,
        cutoffs: &[usize],
        bootstrap: &Bootstrap,
    ) -> Result<Report> {
        let summary = summarise_at(&results, cutoffs, bootstrap)?;
        Ok(Report { provenance, results, summary, gallery: Vec::new(), reference: None })
    }

    /// Adds the ids of the photos that were ranked, so that a comparison can tell galleries apart.
    ///
    /// # Errors
    /// [`Error::NotComparable`] where they are not as many as were ranked.
    pub fn with_gallery(mut self, ids: &[String]) -> Result<Report> {
        if self.summary.n_gallery != ids.len() {
            let reason = format!("{} photos were ranked, {} are named", self.summary.n_gallery, ids.len());
            return Err(Error::NotComparable { reason });
        }
        self.gallery = ids.to_vec();
        Ok(self)
    }

    /// Adds smoothness and fidelity of each query in a reference space.
    ///
    /// # Errors
    /// Those of [`closeness`].
    pub fn with_reference(mut self, reference: Reference, space: Space<'_>) -> Result<Report> {
        let found = closeness(&self.results, space.photos, space.distance)?;
        for (result, closeness) in self.results.iter_mut().zip(found) {
            result.closeness = Some(closeness);
        }
        self.reference = Some(reference);
        Ok(self)
    }

    /// Where it comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// One result a query.
    pub fn results(&self) -> &[QueryResult] {
        &self.results
    }

    /// The figures.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The fixed photo network, where one was asked.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// The means of smoothness and fidelity, where a reference was asked.
    pub fn closeness(&self) -> Vec<Estimate> {
        summarise_closeness(&self.results, &self.summary.bootstrap)
    }
}
