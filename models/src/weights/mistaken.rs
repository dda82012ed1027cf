//! What people have in place of weights: pages that answered a download, pointers to files, archives around them.

/// What a file is instead of weights, from its bytes, and what to do about it; nothing where that cannot be told.
pub(crate) fn for_weights(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("it is empty: the download or copy did not happen".into());
    }
    for (start, what) in ARCHIVES {
        if bytes.starts_with(start) {
            return Some(format!("it is {what}; unpack it and name the file in it"));
        }
    }
    for (start, what) in OTHERS {
        if bytes.starts_with(start) {
            return Some(format!("it is {what}, which is not read"));
        }
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("it is a tar archive; unpack it and name the file in it".into());
    }
    if bytes.len() >= 16 && bytes.iter().all(|&byte| byte == 0) {
        return Some(
            "it holds nothing but zeros: the download reserved its space and did not fill it".into(),
        );
    }
    text(bytes)
}

const ARCHIVES: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
];

const OTHERS: [(&[u8], &str); 5] = [
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes (.h5)"),
    (b"\x93NUMPY", "an array of NumPy (.npy)"),
    (b"GGUF", "a GGUF file of a language model"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
];

/// What a file of text is.
fn text(bytes: &[u8]) -> Option<String> {
    // A safetensors file begins with a length of eight bytes, of which some are zero.
    const LOOKED_AT: usize = 512;
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let is_text = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\r' | b'\n');
    if !start.iter().all(is_text) || start.is_empty() {
        return None;
    }
    let start = String::from_utf8_lossy(start);
    let start = start.trim_start();
    let lower = start.to_ascii_lowercase();
    if lower.starts_with("<!doctype html")
        || ["<html", "<head", "<script"].iter().any(|tag| lower.contains(tag))
    {
        return Some(
            "it is an HTML page: a site answered the download with a page, such as one that asks to log in or to \
             confirm; open its address in a browser"
                .into(),
        );
    }
    if start.starts_with("version https://git-lfs.github.com/spec/") {
        return Some("it is a pointer of Git LFS to the file; `git lfs pull` brings the file itself".into());
    }
    let kind = match start.bytes().next() {
        Some(b'{' | b'[') => "JSON, perhaps an error of the site that was asked",
        Some(b'<') => "XML, perhaps an error of the site that was asked",
        _ => "a text",
    };
    let shown: String = start.lines().next().unwrap_or_default().chars().take(80).collect();
    Some(format!("it is {kind}: '{}'", shown.trim_end()))
}

/// What a zip archive without torch's records is, from the names in it.
pub(super) fn for_zip<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.filter(|name| !name.ends_with('/')).collect();
    let is_weights = |name: &&&str| {
        [".pth", ".pt", ".safetensors", ".onnx", ".bin"].iter().any(|ending| name.ends_with(ending))
    };
    match (names.iter().find(is_weights), names.first()) {
        (Some(weights), _) => {
            format!("it is a zip archive with '{weights}'; unpack it and name the file in it")
        }
        (None, Some(first)) if names.iter().all(|name| name.ends_with(".npy")) => {
            format!("it is a file of NumPy arrays (.npz), such as '{first}', which is not read")
        }
        (None, Some(first)) => {
            format!(
                "it is a zip archive of {} other files, such as '{first}', with no record 'data.pkl'",
                names.len()
            )
        }
        (None, None) => "it is an empty zip archive".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_have_in_place_of_weights_is_called_that() {
        for (bytes, part) in [
            (&b""[..], "empty"),
            (b"<!DOCTYPE html>\n<html><head><title>Google Drive</title>", "HTML page"),
            (b"\xef\xbb\xbf \n<HTML lang=en>", "HTML page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 4\n", "git lfs pull"),
            (
                br#"{"error":"Repository not found"}"#,
                "JSON, perhaps an error of the site that was asked: '{\"error\"",
            ),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
            (b"Entry not found", "a text: 'Entry not found'"),
            (b"\x1f\x8b\x08\0\0\0", "gzip"),
            (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
            (&[0; 4096], "nothing but zeros"),
        ] {
            let said = for_weights(bytes).unwrap_or_default();
            assert!(said.contains(part), "{said} for {part}");
        }
        for (names, part) in [
            (&["archive/", "archive/resnet.pth"][..], "unpack it"),
            (&["a.npy", "b.npy"], "NumPy"),
            (&["word/document.xml"], "1 other files, such as 'word/document.xml'"),
            (&[], "empty"),
        ] {
            let said = for_zip(names.iter().copied());
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn weights_are_not_called_anything_else() {
        let safetensors =
            [&64_u64.to_le_bytes()[..], br#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#]
                .concat();
        // A length that looks like text in its first byte.
        let long = [&u64::from(b'{').to_le_bytes()[..], &[b' '; 200]].concat();
        let legacy = include_bytes!("../../tests/reference/small_legacy.pth");
        let zip = include_bytes!("../../tests/reference/small_zip.pth");
        for bytes in [&safetensors[..], &long, legacy, zip, b"\x08\x07\x12\x07pytorch"] {
            assert_eq!(for_weights(bytes), None);
        }
    }
}
