//! Code for GPUs in a library that nvcc has built: of all generations but one it is blanked, so that the library compresses to a
//! fraction. Nothing moves, so that what points into the library stays right.
//!
//! The section `.nv_fatbin` holds containers one after another. A container begins with a magic number, the length of its header
//! and of what follows: elements, each a header with its own length, the length of its code and the generation (`90` for sm_90),
//! then the code. CUDA loads the element that fits the device, and looks at no other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context, Result, bail};

const SECTION: &str = ".nv_fatbin";
const MAGIC: u32 = 0xBA55_ED50;
/// Containers begin at multiples of this many bytes.
const ALIGNMENT: usize = 8;

/// What was done to a library.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pruned {
    /// Bytes of code by generation, before.
    pub(super) before: BTreeMap<u32, u64>,
    /// Bytes of code that are left.
    pub(super) n_left: u64,
}

/// An element: where its generation stands, which it is, and where its code lies.
struct Element {
    at: usize,
    generation: u32,
    code: Range<usize>,
}

/// Blanks in a 64-bit ELF library all code that is not of `generation`; and of this what the library does not have for each
/// generation that it is built for, where that is asked by `common`. What a maker writes for newer generations alone are kernels
/// of large models (attention, mixtures of experts), which no network here uses. What is blanked of that generation is marked as
/// another's besides: to CUDA it is as if it had never been built, and not broken.
///
/// # Errors
/// Where this is no such library, or it holds no code of that generation.
pub(super) fn prune(library: &mut [u8], generation: u32, common: bool) -> Result<Pruned> {
    let section = section(library)?;
    let containers = containers(library, section)?;
    let all: BTreeSet<u32> = containers.iter().flatten().map(|element| element.generation).collect();
    let other = all.iter().copied().find(|of| of / 10 != generation / 10);
    let mut pruned = Pruned { before: BTreeMap::new(), n_left: 0 };
    for container in containers {
        let of: BTreeSet<u32> = container.iter().map(|element| element.generation).collect();
        for Element { at, generation: of_element, code } in container {
            let n_bytes = code.len() as u64;
            *pruned.before.entry(of_element).or_default() += n_bytes;
            if of_element == generation && (!common || of == all) {
                pruned.n_left += n_bytes;
            } else {
                library.get_mut(code).context("code beyond the library's end")?.fill(0);
                if let Some(other) = other.filter(|_| of_element == generation) {
                    library[at..at + 4].copy_from_slice(&other.to_le_bytes());
                }
            }
        }
    }
    if pruned.n_left == 0 {
        bail!("it holds no code for sm_{generation}, but for {all:?}");
    }
    Ok(pruned)
}

/// Where the section with code for GPUs lies.
fn section(library: &[u8]) -> Result<Range<usize>> {
    if !library.starts_with(b"\x7fELF\x02\x01") {
        bail!("it is no 64-bit ELF library");
    }
    let (table, n, of_names) =
        (number(library, 0x28, 8)?, number(library, 0x3c, 2)?, number(library, 0x3e, 2)?);
    let place = |index: usize| -> Result<(usize, Range<usize>)> {
        let header = table + 64 * index;
        let (start, len) = (number(library, header + 24, 8)?, number(library, header + 32, 8)?);
        Ok((number(library, header, 4)?, start..start.checked_add(len).context("a section without an end")?))
    };
    let (_, names) = place(of_names)?;
    let names = library.get(names).context("the names of sections lie beyond the library's end")?;
    for index in 0..n {
        let (name, range) = place(index)?;
        let name = names.get(name..).unwrap_or_default();
        if name.strip_prefix(SECTION.as_bytes()).is_some_and(|rest| rest.first() == Some(&0)) {
            if range.end > library.len() {
                bail!("the section {SECTION} ends beyond the library");
            }
            return Ok(range);
        }
    }
    bail!("it has no section {SECTION}: nothing in it is for GPUs")
}

/// The elements of each container.
fn containers(library: &[u8], section: Range<usize>) -> Result<Vec<Vec<Element>>> {
    let (mut at, mut found) = (section.start, Vec::new());
    while at + 16 <= section.end {
        if number(library, at, 4)? != MAGIC as usize {
            at += ALIGNMENT;
            continue;
        }
        let (header, len) = (number(library, at + 6, 2)?, number(library, at + 8, 8)?);
        let end =
            len.checked_add(header).and_then(|len| at.checked_add(len)).filter(|&end| end <= section.end);
        let end = end.with_context(|| format!("a container at byte {at} ends beyond {SECTION}"))?;
        let (mut element, mut elements) = (at + header, Vec::new());
        while element < end {
            let (header, len) = (number(library, element + 4, 4)?, number(library, element + 8, 8)?);
            let code_end = header.checked_add(len).and_then(|len| element.checked_add(len));
            let code_end = code_end.filter(|&code_end| header >= 32 && code_end <= end);
            let code_end = code_end
                .with_context(|| format!("an element at byte {element} ends beyond its container"))?;
            let code = element + header..code_end;
            let at = element + 28;
            let generation = number(library, at, 4)? as u32;
            element = code.end;
            elements.push(Element { at, generation, code });
        }
        found.push(elements);
        at = end;
    }
    Ok(found)
}

/// A number of so many bytes, the lowest first.
fn number(bytes: &[u8], at: usize, len: usize) -> Result<usize> {
    let bytes = at.checked_add(len).and_then(|end| bytes.get(at..end)).context("it ends too early")?;
    let number = bytes.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    usize::try_from(number).context("a length that is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library with a section of these containers, each of elements of a generation and a byte that fills its code.
    fn library(containers: &[&[(u32, u8)]]) -> Vec<u8> {
        let mut section = Vec::new();
        for elements in containers {
            let mut body = Vec::new();
            for (generation, fill) in *elements {
                let mut header = vec![0; 64];
                header[..2].copy_from_slice(&2_u16.to_le_bytes());
                header[4..8].copy_from_slice(&64_u32.to_le_bytes());
                header[8..16].copy_from_slice(&24_u64.to_le_bytes());
                header[28..32].copy_from_slice(&generation.to_le_bytes());
                body.extend(header);
                body.extend([*fill; 24]);
            }
            section.extend(MAGIC.to_le_bytes());
            section.extend([1, 0, 16, 0]);
            section.extend((body.len() as u64).to_le_bytes());
            section.extend(body);
            // Containers are not always close to each other.
            section.extend([0; 8]);
        }
        let names = b"\0.nv_fatbinary\0.nv_fatbin\0.shstrtab\0";
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let at_section = elf.len();
        elf.extend(&section);
        let at_names = elf.len();
        elf.extend(names);
        let table = elf.len();
        elf[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
        elf[0x3c..0x3e].copy_from_slice(&3_u16.to_le_bytes());
        elf[0x3e..0x40].copy_from_slice(&2_u16.to_le_bytes());
        // The first has a name that begins as the one that is looked for.
        for (name, at, len) in [(1, 0, 8), (15, at_section, section.len()), (26, at_names, names.len())] {
            let mut header = vec![0; 64];
            header[..4].copy_from_slice(&(name as u32).to_le_bytes());
            header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(len as u64).to_le_bytes());
            elf.extend(header);
        }
        elf
    }

    /// How many bytes of each filling are left.
    fn left(library: &[u8], fill: u8) -> usize {
        library.iter().filter(|&&byte| byte == fill).count()
    }

    #[test]
    fn one_generation_is_left_where_it_was() {
        let whole = library(&[&[(75, 0xa1), (90, 0xa2)], &[(90, 0xa3)]]);
        let mut pruned = whole.clone();
        let told = prune(&mut pruned, 90, false).unwrap();
        assert_eq!(told, Pruned { before: BTreeMap::from([(75, 24), (90, 48)]), n_left: 48 });
        assert_eq!([0xa1, 0xa2, 0xa3].map(|fill| left(&pruned, fill)), [0, 24, 24]);
        let changed: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != pruned[at]).collect();
        assert!(changed.len() == 24 && changed.iter().all(|&at| whole[at] == 0xa1));
    }

    #[test]
    fn what_not_every_generation_has_goes_where_that_is_asked() {
        let mut pruned = library(&[&[(75, 0xa1), (90, 0xa2)], &[(90, 0xa3)], &[(90, 0xa4), (75, 0xa5)]]);
        assert_eq!(prune(&mut pruned, 90, true).unwrap().n_left, 48);
        assert_eq!([0xa1, 0xa2, 0xa3, 0xa4, 0xa5].map(|fill| left(&pruned, fill)), [0, 24, 0, 24, 0]);
        // What CUDA still finds of the generation is whole.
        let again = prune(&mut pruned, 90, false).unwrap();
        assert_eq!(again, Pruned { before: BTreeMap::from([(75, 72), (90, 48)]), n_left: 48 });
    }

    #[test]
    fn what_is_no_such_library_is_refused_and_never_read_beyond_its_end() {
        let whole = library(&[&[(75, 1), (90, 2)]]);
        let says =
            |mut bytes: Vec<u8>, generation| prune(&mut bytes, generation, true).unwrap_err().to_string();
        assert!(says(whole.clone(), 80).contains("no code for sm_80, but for {75, 90}"));
        assert!(says(b"not a library".to_vec(), 90).contains("no 64-bit ELF"));
        let renamed = whole.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect();
        assert!(says(renamed, 90).contains("no section .nv_fatbin"));
        for len in 0..whole.len() {
            let _ = prune(&mut whole[..len].to_vec(), 90, true);
        }
        let at = whole.windows(4).position(|window| window == MAGIC.to_le_bytes()).unwrap();
        // Lengths of the container, and of its first element.
        for (place, words) in [(at + 8, "ends beyond .nv_fatbin"), (at + 16 + 8, "ends beyond its container")]
        {
            let mut long = whole.clone();
            long[place..place + 8].fill(0xff);
            assert!(says(long, 90).contains(words), "{words}");
        }
    }
}
