//! Neighbourhood-ranking statistics as files: `neighbours.csv` and `anchors.csv`, within a report or by themselves.

use std::path::Path;

use sketchfind_core::atomic;

use super::contents::{Provenance, Reference};
use super::csv_files::{ANCHORS, NEIGHBOURS, QUERIES, SCHEMA, known, write_rows};
use super::rows::{AnchorRow, NeighbourRow};
use crate::neighbours::Neighbourhood;
use crate::{Error, Result};

/// Writes statistics by themselves into `folder`, whole or not at all.
///
/// # Errors
/// Those of [`check_neighbours_free`]; [`Error::Core`] and [`Error::ReportFile`] where it cannot be written.
pub fn write_neighbours(
    folder: &Path,
    provenance: &Provenance,
    reference: &Reference,
    neighbours: &Neighbourhood,
) -> Result<()> {
    check_neighbours_free(folder)?;
    atomic::write_folder(folder, |new| write_into(new, provenance, reference, neighbours))
}

/// Whether statistics may be written by themselves to `folder`: nothing is there, or an empty folder, or others of their
/// kind. A report of an evaluation has more in it, and is left.
///
/// # Errors
/// [`Error::ReportFile`] where something else is there; [`Error::Core`] where it cannot be looked at.
pub fn check_neighbours_free(folder: &Path) -> Result<()> {
    if atomic::is_free_for(folder, NEIGHBOURS)? && !folder.join(QUERIES).exists() {
        Ok(())
    } else {
        Err(Error::report_file(folder, "is there and holds something else; it is left as it is"))
    }
}

pub(super) fn write_into(
    folder: &Path,
    provenance: &Provenance,
    reference: &Reference,
    neighbours: &Neighbourhood,
) -> Result<()> {
    write_rows(&folder.join(NEIGHBOURS), neighbour_rows(provenance, reference, neighbours))?;
    write_rows(&folder.join(ANCHORS), anchor_rows(provenance, reference, neighbours))
}

fn neighbour_rows<'a>(
    provenance: &'a Provenance,
    reference: &'a Reference,
    neighbours: &'a Neighbourhood,
) -> impl Iterator<Item = NeighbourRow<'a>> {
    let bootstrap = &neighbours.bootstrap;
    neighbours.estimates.iter().map(move |one| NeighbourRow {
        schema: SCHEMA,
        metric: &one.estimate.metric,
        anchors: one.anchors,
        value: known(one.estimate.value),
        low: known(one.estimate.low),
        high: known(one.estimate.high),
        n: one.estimate.n,
        n_undefined: one.n_undefined,
        n_photos: neighbours.n_photos,
        n_triplets: one.pairs.map(|pairs| pairs.n),
        n_concordant: one.pairs.map(|pairs| pairs.n_concordant),
        n_discordant: one.pairs.map(|pairs| pairs.n_discordant),
        n_tied_reference: one.pairs.map(|pairs| pairs.n_tied_reference),
        n_tied_studied: one.pairs.map(|pairs| pairs.n_tied_studied),
        n_tied_both: one.pairs.map(|pairs| pairs.n_tied_both),
        interval: one.estimate.interval.name(),
        resampled: one.estimate.resampled.name(),
        n_resampled: one.estimate.n_resampled,
        confidence: bootstrap.confidence,
        samples: bootstrap.samples,
        seed: bootstrap.seed,
        split: &provenance.split,
        distance: &provenance.distance,
        model: &provenance.model,
        model_sha256: &provenance.model_sha256,
        reference: &reference.model,
        reference_sha256: &reference.model_sha256,
        dataset_sha256: &provenance.dataset_sha256,
        tool: &provenance.tool,
    })
}

fn anchor_rows<'a>(
    provenance: &'a Provenance,
    reference: &'a Reference,
    neighbours: &'a Neighbourhood,
) -> impl Iterator<Item = AnchorRow<'a>> {
    neighbours.anchors.iter().map(move |anchor| AnchorRow {
        schema: SCHEMA,
        anchors: anchor.kind.name(),
        anchor_id: &anchor.id,
        photo_id: &anchor.photo,
        n_pairs: anchor.pairs.n,
        n_concordant: anchor.pairs.n_concordant,
        n_discordant: anchor.pairs.n_discordant,
        n_tied_reference: anchor.pairs.n_tied_reference,
        n_tied_studied: anchor.pairs.n_tied_studied,
        n_tied_both: anchor.pairs.n_tied_both,
        agreement: anchor.pairs.agreement(),
        tau_b: anchor.pairs.tau_b(),
        rho: anchor.rho,
        displacement: anchor.displacement,
        overlap_1: anchor.overlap[0],
        overlap_5: anchor.overlap[1],
        overlap_10: anchor.overlap[2],
        model_sha256: &provenance.model_sha256,
        reference_sha256: &reference.model_sha256,
        dataset_sha256: &provenance.dataset_sha256,
    })
}
