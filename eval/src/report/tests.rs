//! Reports to disk and back.

use super::contents::{Extras, Provenance, Reference, Report};
use super::csv_files::{
    ANCHORS, COMPARISON, EARLY, GALLERY, NEIGHBOURS, QUERIES, ROBUSTNESS, SUMMARY, join_ids, split_ids,
};
use super::{compare, write_comparison};
use crate::estimate::Bootstrap;
use crate::neighbours::Space;
use crate::result::tests::with_ranks;
use crate::summary::ACCURACY_CUTOFFS;
use sketchfind_core::work::{Cancel, Progress};

pub(super) fn report(ranks: &[usize]) -> Report {
    let provenance = Provenance {
        tool: "sketchfind 0.1.0".into(),
        model: "a <model> & \"more\"".into(),
        model_sha256: "aa".into(),
        dataset_sha256: "bb".into(),
        split: "test".into(),
        distance: "mse".into(),
    };
    Report::new(provenance, with_ranks(ranks, 1), &Bootstrap::default()).unwrap()
}

#[test]
fn files_come_back_as_they_were() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("report");
    let original = report(&[1, 3, 2, 500]);
    original.write(&folder).unwrap();
    original.write(&folder).unwrap();
    assert_eq!(Report::read(&folder, &Bootstrap::default()).unwrap(), original);
    let summary = std::fs::read_to_string(folder.join(SUMMARY)).unwrap();
    assert!(summary.starts_with(
        "schema,metric,value,low,high,n,n_photos,n_gallery,interval,resampled,n_resampled,confidence,samples,seed,\
         ties,label_column,"
    ));
    assert_eq!(summary.lines().count(), 10);
    assert!(summary.contains("acc@1,0.25,"));
}

#[test]
fn another_folder_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    assert!(report(&[1]).write(folder.path()).is_err());
    assert!(folder.path().join("thesis.tex").is_file());
}

#[test]
fn damaged_files_are_named() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("report");
    report(&[1, 2]).write(&folder).unwrap();
    let path = folder.join(QUERIES);
    let whole = std::fs::read_to_string(&path).unwrap();
    for damaged in [
        String::new(),
        whole.lines().next().unwrap().to_owned(),
        whole.replace(",g00000,1,1,", ",g00000,0,1,"),
        whole.replace(",g00000,1,1,", ",g00000,1,0,"),
        whole.replacen("2,q00000", "9,q00000", 1),
        whole.replacen(",bb,", ",cc,", 1),
    ] {
        std::fs::write(&path, damaged).unwrap();
        let message = Report::read(&folder, &Bootstrap::default()).unwrap_err().to_string();
        assert!(message.contains(QUERIES), "{message}");
    }
}

#[test]
fn files_of_the_first_schema_are_read_and_newer_ones_are_not() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("report");
    let original = report(&[1, 3]);
    original.write(&folder).unwrap();
    let path = folder.join(QUERIES);
    let header = "schema,query_id,truth_id,rank,n_tied,truth_distance,first_id,first_distance,top,n_gallery,split,\
                  distance,model,model_sha256,dataset_sha256,tool\n";
    let row = |query: &str, photo: &str, rank: usize| {
        format!(
            "1,{query},{photo},{rank},0,1.0,g00000,0.5,g00000,1000,test,mse,\"a <model> & \"\"more\"\"\",aa,bb,\
             sketchfind 0.1.0\n"
        )
    };
    let old = format!("{header}{}{}", row("q00000", "g00000", 1), row("q00001", "g00001", 3));
    std::fs::write(&path, &old).unwrap();
    assert_eq!(Report::read(&folder, &Bootstrap::default()).unwrap(), original);
    std::fs::write(&path, old.replace("\n1,", "\n3,")).unwrap();
    let message = Report::read(&folder, &Bootstrap::default()).unwrap_err().to_string();
    assert!(message.contains("schema is '3', expected 1 to 2"), "{message}");
}

#[test]
fn ids_that_hold_bars_come_back() {
    let ids: Vec<String> = ["a|b", "c\\", "|", "d"].map(str::to_owned).into();
    assert_eq!(split_ids(&join_ids(&ids)), ids);
}

#[test]
fn all_that_was_measured_has_its_file() {
    use sketchfind_core::distance::Distance;
    use sketchfind_core::embeddings::Embeddings;
    let n = 12;
    let mut original = report(&vec![1; n]);
    let ids: Vec<String> = (0..n).map(|i| format!("g{i:05}")).collect();
    for result in &mut original.results {
        (result.n_gallery, result.top) = (n, ids[..10].to_vec());
    }
    original = Report::new(original.provenance, original.results, &Bootstrap::default()).unwrap();
    let space = Embeddings::new(ids.clone(), 1, (0..n).map(|i| (1 << i) as f32).collect()).unwrap();
    let space = Space { photos: &space, distance: Distance::Mse };
    let reference = Reference { model: "resnet50".into(), model_sha256: "cc".into() };
    let original = original.with_gallery(&ids).unwrap().with_reference(reference, space).unwrap();
    assert!(original.clone().with_gallery(&ids[1..]).is_err());
    let bootstrap = Bootstrap { samples: 50, ..Bootstrap::default() };
    let steps = [original.results.clone()];
    let extras = Extras {
        neighbours: Some(
            crate::neighbours::neighbourhood(
                space,
                space,
                None,
                &bootstrap,
                Progress::default(),
                Cancel::default(),
            )
            .unwrap(),
        ),
        early: Some(crate::early::early_retrieval(&steps, &bootstrap).unwrap()),
        robustness: crate::robustness::robustness(
            &original.results,
            &[crate::robustness::Changed { change: "rotation".into(), versions: steps.into() }],
            &bootstrap,
        )
        .unwrap(),
        ..Extras::default()
    };
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("report");
    original.write_with(&folder, &extras, |_| Ok(())).unwrap();
    assert_eq!(Report::read(&folder, &Bootstrap::default()).unwrap(), original);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert!(read(NEIGHBOURS).contains("triplet_agreement,photo,1.0,1.0,1.0,12,0,12,660,660,0,"));
    assert_eq!(read(ANCHORS).lines().count(), 1 + n);
    assert!(read(EARLY).contains("2,1.0,1.0,1.0,1.0,1.0,1.0,12,aa,bb,test"));
    assert!(read(ROBUSTNESS).contains("2,rotation,1,1.0,"));
    assert!(read(SUMMARY).contains("smoothness@10,") && read(SUMMARY).contains("acc@1_drop_rotation,0.0,"));
    assert_eq!(read(GALLERY).lines().count(), 1 + n);
}

#[test]
fn reports_keep_their_k_and_are_compared_at_all_of_them() {
    let parent = tempfile::tempdir().unwrap();
    let read = |name: &str, cutoffs: &[usize]| {
        let one = report(&[1, 2, 30]);
        let one = Report::at(one.provenance, one.results, cutoffs, &Bootstrap::default()).unwrap();
        one.write(&parent.path().join(name)).unwrap();
        Report::read(&parent.path().join(name), &Bootstrap::default()).unwrap()
    };
    let reports = [read("a", &[20, 3]), read("b", &[50])];
    assert_eq!(reports[0].summary.cutoffs, [20, 3]);
    let comparisons = compare(&reports, &Bootstrap::default()).unwrap();
    let metrics: Vec<&str> = comparisons[0].differences.iter().map(|one| one.metric.as_str()).collect();
    assert_eq!(metrics, ["acc@1", "acc@3", "acc@20", "acc@50", "mrr"]);
    // Where the figures are gone, the results are still read.
    std::fs::remove_file(parent.path().join("a").join(SUMMARY)).unwrap();
    let one = Report::read(&parent.path().join("a"), &Bootstrap::default()).unwrap();
    assert_eq!(one.summary.cutoffs, ACCURACY_CUTOFFS);
}

#[test]
fn comparisons_need_the_same_data() {
    let (a, b) = (report(&[1, 2]), report(&[1, 1]));
    let folder = tempfile::tempdir().unwrap();
    let reports = [a, b];
    let comparisons = compare(&reports, &Bootstrap::default()).unwrap();
    write_comparison(folder.path(), &reports, &comparisons, &Bootstrap::default()).unwrap();
    let text = std::fs::read_to_string(folder.path().join(COMPARISON)).unwrap();
    assert!(text.contains("acc@1_difference,0.5,") && text.lines().count() == 5, "{text}");
    let [a, b] = reports;
    let refusal = |change: &dyn Fn(&mut Report), part: &str| {
        let mut other = b.clone();
        change(&mut other);
        let message = compare(&[a.clone(), other], &Bootstrap::default()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refusal(&|report| report.provenance.split = "train".into(), "splits differ");
    refusal(&|report| report.provenance.dataset_sha256 = "cc".into(), "data sets differ");
    refusal(&|report| report.results[0].query_id = "x".into(), "only in the second: 1 (x)");
    let with_gallery = |report: &Report, last: &str| Report {
        gallery: vec!["g00000".into(), last.into()],
        ..report.clone()
    };
    let pair = [with_gallery(&a, "g1"), with_gallery(&b, "g2")];
    let message = compare(&pair, &Bootstrap::default()).unwrap_err().to_string();
    assert!(
        message.contains("gallery photos only in the first: 1 (g1); only in the second: 1 (g2)"),
        "{message}"
    );
}
