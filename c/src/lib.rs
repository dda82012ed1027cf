//! The C interface: opaque handles, error codes with messages, nothing unwinds across the border. The header
//! `include/sketchfind.h` is made from the modules of this crate by cbindgen.
//!
//! Rules for callers, which the header repeats: texts are UTF-8 and end with a zero byte; a function that takes a handle
//! takes a live one; what a function gives out is freed by the function named beside it. A retriever may be used by any
//! number of threads at once, everything else by one at a time. ONNX Runtime's telemetry is off: see
//! [`native::init`](sketchfind::native::init) and the header for what that asks of a process that loads the library late.
//!
//! A program that was built with one version runs with a later one of the same [`skf_abi`]: functions and members stay as
//! they are. A struct that callers make ends with members in reserve, which are zero; a member that is added takes their
//! place, and zero is what was before there was one. A library that is older than what it is given sees that one of them is
//! not zero, and refuses it. A struct that the library makes is given out by its address alone, and grows at its end.

// A foreign interface deals in pointers, which only unsafe code can follow: this crate holds all of it, and the library is
// called with checked values.
#![allow(unsafe_code)]
// The names are those of the header.
#![allow(non_camel_case_types)]

mod border;
mod embed;
mod exchange;
mod filter;
mod ingest;
mod list;
mod matches;
mod photos;
mod picture;
mod query;
mod retriever;
mod search_options;
mod space;
mod status;
mod upkeep;
mod verify;
mod version;
mod work;

pub use border::skf_last_error;
pub use embed::{skf_embed, skf_embed_image, skf_embed_sketch};
pub use exchange::{
    skf_export, skf_exported, skf_exported_free, skf_exported_len, skf_exported_without_path_at,
    skf_exported_without_path_len, skf_import, skf_import_options,
};
pub use filter::{
    skf_filter, skf_filter_any_label, skf_filter_every_label, skf_filter_free, skf_filter_new,
    skf_filter_only_ids, skf_filter_only_products, skf_filter_without_ids, skf_filter_without_label,
    skf_filter_without_products,
};
pub use ingest::{
    skf_counts, skf_ingest, skf_ingest_folder, skf_ingest_options, skf_ingested, skf_ingested_counts,
    skf_ingested_free, skf_ingested_left_out_at, skf_ingested_left_out_len, skf_ingested_unread_columns_at,
    skf_ingested_unread_columns_len, skf_left_out, skf_photo_file,
};
pub use list::{skf_get, skf_list, skf_list_all, skf_list_embedding, skf_list_free, skf_list_next};
pub use matches::{
    skf_match, skf_matches, skf_matches_at, skf_matches_free, skf_matches_len, skf_matches_nothing,
    skf_matches_nothing_code, skf_matches_score,
};
pub use photos::{skf_add, skf_add_batch, skf_add_embeddings, skf_add_image, skf_photo, skf_remove};
pub use picture::{skf_format, skf_image, skf_sketch, skf_strokes};
pub use query::{
    skf_query, skf_query_embedding, skf_query_embeddings, skf_query_image, skf_query_many,
    skf_query_many_with, skf_query_strokes, skf_query_with,
};
pub use retriever::{
    skf_close, skf_create, skf_index, skf_len, skf_open, skf_options, skf_refresh, skf_retriever, skf_width,
};
pub use search_options::skf_search_options;
pub use space::{skf_create_without_model, skf_distance, skf_space};
pub use status::skf_status;
pub use upkeep::{
    skf_compact, skf_compact_with, skf_copied, skf_copy, skf_measure_recall, skf_recall, skf_set_index,
};
pub use verify::{skf_verification, skf_verify};
pub use version::{SKF_ABI, skf_abi, skf_version};
pub use work::skf_work;
