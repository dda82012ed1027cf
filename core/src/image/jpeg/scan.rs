//! The codes of one scan of a JPEG file: read one after another and counted, to tell whether there are as many as the
//! scan's blocks need.

use super::{Frame, Tables};

/// A component of a frame, and what was read of it.
pub(super) struct Component {
    id: u8,
    /// Blocks of it in an MCU, across and down.
    across: u32,
    down: u32,
    /// For each coefficient of a block in zigzag order, the lowest bit that was read; nothing of one that was not.
    lowest: [Option<u8>; 64],
    /// For each block as a scan of this component alone counts them, which coefficients are not zero so far. Only what
    /// refines a progressive image reads it.
    nonzero: Vec<u64>,
}

impl Component {
    /// A component of an id and a byte of two sampling factors.
    pub(super) fn new(id: u8, factors: u8) -> Option<Component> {
        let (across, down) = (u32::from(factors >> 4), u32::from(factors & 15));
        let is_valid = (1..=4).contains(&across) && (1..=4).contains(&down);
        is_valid.then_some(Component { id, across, down, lowest: [None; 64], nonzero: Vec::new() })
    }

    /// Whether every coefficient was read to its last bit.
    pub(super) fn is_complete(&self) -> bool {
        self.lowest.iter().all(|&bit| bit == Some(0))
    }
}

/// A table of Huffman codes (annex C): bits to a symbol.
pub(super) struct HuffmanTable {
    /// By the next [`LOOKED_AT`] bits: the code's length and its symbol; a length of zero where the code is longer.
    short: [(u8, u8); 1 << LOOKED_AT],
    /// The same for blocks of a sequential scan: the length of the code and of the bits behind it, and how many
    /// coefficients they stand for.
    steps: [(u8, u8); 1 << LOOKED_AT],
    /// For each length, the first code that is not of it, moved to the left of 16 bits, and what leads from a code of it
    /// to its symbol's place.
    longer: [(u32, i32); 17],
    symbols: Vec<u8>,
}

const LOOKED_AT: u32 = 9;

impl HuffmanTable {
    /// Reads the tables of a segment into their places; nothing where it contradicts itself.
    pub(super) fn read_all(mut segment: &[u8], tables: &mut Tables) -> Option<()> {
        while let Some((&place, rest)) = segment.split_first() {
            let (lengths, rest) = rest.split_first_chunk::<16>()?;
            let n_symbols: usize = lengths.iter().map(|&n| usize::from(n)).sum();
            let (symbols, rest) = rest.split_at_checked(n_symbols)?;
            *tables.get_mut(usize::from(place >> 4))?.get_mut(usize::from(place & 15))? =
                Some(HuffmanTable::new(lengths, symbols)?);
            segment = rest;
        }
        Some(())
    }

    fn new(lengths: &[u8; 16], symbols: &[u8]) -> Option<HuffmanTable> {
        let none = [(0, 0); 1 << LOOKED_AT];
        let mut table =
            HuffmanTable { short: none, steps: none, longer: [(0, 0); 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &n) in (1_u32..).zip(lengths) {
            table.longer[length as usize].1 = place as i32 - code as i32;
            for _ in 0..n {
                if code >> length != 0 {
                    return None; // more codes than there can be of this length
                }
                if length <= LOOKED_AT {
                    let shift = LOOKED_AT - length;
                    let codes = (code << shift) as usize..((code + 1) << shift) as usize;
                    table.short[codes.clone()].fill((length as u8, symbols[place]));
                    table.steps[codes].fill(step(length, symbols[place]));
                }
                code += 1;
                place += 1;
            }
            table.longer[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// The length and symbol of the code that `next`, 16 bits, begin with.
    #[inline]
    fn find(&self, next: u32) -> Option<(u32, u8)> {
        let (length, symbol) = self.short[(next >> (16 - LOOKED_AT)) as usize];
        if length != 0 {
            return Some((u32::from(length), symbol));
        }
        let longer = LOOKED_AT + 1..=16;
        let length = longer.into_iter().find(|&length| next < self.longer[length as usize].0)?;
        let place = (next >> (16 - length)) as i32 + self.longer[length as usize].1;
        Some((length, *self.symbols.get(usize::try_from(place).ok()?)?))
    }
}

/// What ends a walk through a scan.
pub(super) enum ScanEnd {
    /// All its blocks are there; the position behind them.
    Complete(usize),
    /// The codes end before the blocks do.
    Cut,
    /// A code that there is none of, or a segment lost in the middle: what is meant cannot be told.
    Damaged,
}

/// Why codes cannot be read on.
enum Stop {
    /// No bits are left before the next marker or the file's end.
    NoBits,
    NoSuchCode,
}

/// A scan as its header describes it.
pub(super) struct Scan<'t> {
    /// Of the frame's components those that are in it, with their tables of DC and of AC coefficients.
    components: Vec<(usize, Option<&'t HuffmanTable>, Option<&'t HuffmanTable>)>,
    /// The first and the last coefficient in zigzag order.
    first: usize,
    last: usize,
    /// The lowest bit that the scan brings.
    lowest: u8,
    is_refinement: bool,
    interval: usize,
}

impl<'t> Scan<'t> {
    /// Reads a scan's header; nothing where it does not fit the frame.
    pub(super) fn parse(
        header: &[u8],
        frame: &Frame,
        tables: &'t Tables,
        interval: usize,
    ) -> Option<Scan<'t>> {
        let (&n, rest) = header.split_first()?;
        let (named, rest) = rest.split_at_checked(2 * usize::from(n))?;
        let &[first, last, bits, ..] = rest else {
            return None;
        };
        let mut components = Vec::new();
        for &[id, places] in named.as_chunks::<2>().0 {
            let index = frame.components.iter().position(|component| component.id == id)?;
            let table = |kind: usize, place: u8| tables[kind].get(usize::from(place))?.as_ref();
            components.push((index, table(0, places >> 4), table(1, places & 15)));
        }
        let (first, last, lowest, is_refinement) = if frame.is_progressive {
            (usize::from(first), usize::from(last), bits & 15, bits >> 4 != 0)
        } else {
            (0, 63, 0, false)
        };
        let is_of_one_kind = !frame.is_progressive || (first == 0) == (last == 0);
        let is_alone = components.len() == 1 || first == 0;
        let is_valid = !components.is_empty() && first <= last && last < 64 && is_of_one_kind && is_alone;
        // A refinement needs no table of DC coefficients, nor a scan without some of either kind theirs.
        let has_tables = components
            .iter()
            .all(|(_, dc, ac)| (dc.is_some() || first > 0 || is_refinement) && (ac.is_some() || last == 0));
        (is_valid && has_tables).then_some(Scan { components, first, last, lowest, is_refinement, interval })
    }

    /// Reads the scan's codes from `at` on.
    pub(super) fn walk(&self, frame: &mut Frame, bytes: &[u8], at: usize) -> ScanEnd {
        let largest = |of: fn(&Component) -> u32| frame.components.iter().map(of).max().unwrap_or(1);
        let (most_across, most_down) = (largest(|c| c.across), largest(|c| c.down));
        // Blocks of each component in an MCU, and MCUs. A component that is alone has one in each, and as many as its
        // own pixels need (A.2.2).
        let (blocks, n_mcus): (Vec<u32>, usize) = match self.components[..] {
            [(index, ..)] => {
                let component = &frame.components[index];
                let n = |pixels: u32, factor: u32, most: u32| (pixels * factor).div_ceil(most).div_ceil(8);
                let across = n(frame.width, component.across, most_across);
                let down = n(frame.height, component.down, most_down);
                (vec![1], across as usize * down as usize)
            }
            _ => {
                let across = frame.width.div_ceil(8 * most_across) as usize;
                let down = frame.height.div_ceil(8 * most_down) as usize;
                let blocks = self.components.iter().map(|(index, ..)| {
                    let component = &frame.components[*index];
                    component.across * component.down
                });
                (blocks.collect(), across * down)
            }
        };
        let mut nonzero = match self.components[..] {
            [(index, ..)] if frame.is_progressive && self.first > 0 => {
                let mut nonzero = std::mem::take(&mut frame.components[index].nonzero);
                nonzero.resize(n_mcus, 0);
                nonzero
            }
            _ => Vec::new(),
        };
        let mut bits = Bits { bytes, at, value: 0, n: 0 };
        let mut run = 0; // blocks that the scan says nothing more of
        let mut mcu = 0;
        while mcu < n_mcus {
            if self.interval > 0 && mcu > 0 && mcu % self.interval == 0 {
                run = 0;
                if !bits.restart() {
                    return ScanEnd::Cut;
                }
            }
            let mut read = Ok(());
            for ((_, dc, ac), &n_blocks) in self.components.iter().zip(&blocks) {
                for _ in 0..n_blocks {
                    read = read.and_then(|()| match (frame.is_progressive, nonzero.get_mut(mcu)) {
                        (false, _) => sequential(&mut bits, *dc, *ac),
                        (true, None) => self.progressive_dc(&mut bits, *dc),
                        (true, Some(nonzero)) if self.is_refinement => {
                            self.refined_ac(&mut bits, *ac, &mut run, nonzero)
                        }
                        (true, Some(nonzero)) => self.progressive_ac(&mut bits, *ac, &mut run, nonzero),
                    });
                }
            }
            match read {
                Ok(()) => mcu += 1,
                Err(Stop::NoBits) if !bits.is_before_restart() => return ScanEnd::Cut,
                Err(Stop::NoBits | Stop::NoSuchCode) => return ScanEnd::Damaged,
            }
        }
        for (index, ..) in &self.components {
            frame.components[*index].lowest[self.first..=self.last].fill(Some(self.lowest));
        }
        if let ([(index, ..)], false) = (&self.components[..], nonzero.is_empty()) {
            frame.components[*index].nonzero = nonzero;
        }
        ScanEnd::Complete(bits.position())
    }

    /// A block's DC coefficient, or a further bit of it (G.1.2.1).
    fn progressive_dc(&self, bits: &mut Bits<'_>, dc: Option<&HuffmanTable>) -> Result<(), Stop> {
        match dc {
            Some(dc) if !self.is_refinement => bits.symbol_and_its_bits(dc).map(|_| ()),
            _ => bits.pass(1),
        }
    }

    /// A block's AC coefficients for the first time (G.1.2.2).
    fn progressive_ac(
        &self,
        bits: &mut Bits<'_>,
        ac: Option<&HuffmanTable>,
        run: &mut u32,
        nonzero: &mut u64,
    ) -> Result<(), Stop> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let ac = ac.ok_or(Stop::NoSuchCode)?;
        let mut index = self.first;
        while index <= self.last {
            let symbol = bits.symbol(ac)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size > 0 {
                bits.pass(size)?;
                index += zeros as usize;
                *nonzero |= 1_u64.checked_shl(index as u32).unwrap_or(0);
                index += 1;
            } else if zeros == 15 {
                index += 16;
            } else {
                *run = (1 << zeros) - 1 + bits.take(zeros)?;
                break;
            }
        }
        Ok(())
    }

    /// A further bit of a block's AC coefficients (G.1.2.3): one for each that was not zero, and those that are new.
    fn refined_ac(
        &self,
        bits: &mut Bits<'_>,
        ac: Option<&HuffmanTable>,
        run: &mut u32,
        nonzero: &mut u64,
    ) -> Result<(), Stop> {
        let ac = ac.ok_or(Stop::NoSuchCode)?;
        let mut index = self.first;
        while *run == 0 && index <= self.last {
            let symbol = bits.symbol(ac)?;
            let (mut zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size > 0 {
                bits.pass(1)?; // the new coefficient's sign
            } else if zeros < 15 {
                *run = (1 << zeros) + bits.take(zeros)?;
                break;
            }
            while index <= self.last {
                if *nonzero >> index & 1 == 1 {
                    bits.pass(1)?;
                } else if zeros == 0 {
                    if size > 0 {
                        *nonzero |= 1 << index;
                    }
                    break;
                } else {
                    zeros -= 1;
                }
                index += 1;
            }
            index += 1;
        }
        if *run > 0 {
            *run -= 1;
            for _ in (index..=self.last).filter(|&index| *nonzero >> index & 1 == 1) {
                bits.pass(1)?;
            }
        }
        Ok(())
    }
}

/// How many bits a code and its symbol take in a sequential scan, and how many coefficients they stand for (F.1.2): those
/// that are zero and one that is not, sixteen zeros, or all that are left.
#[inline]
fn step(length: u32, symbol: u8) -> (u8, u8) {
    let n_coefficients = if symbol == 0 { 64 } else { (symbol >> 4) + 1 };
    (length as u8 + (symbol & 15), n_coefficients)
}

/// A block of a sequential scan.
fn sequential(bits: &mut Bits<'_>, dc: Option<&HuffmanTable>, ac: Option<&HuffmanTable>) -> Result<(), Stop> {
    let (Some(dc), Some(ac)) = (dc, ac) else {
        return Err(Stop::NoSuchCode);
    };
    // A copy, which stays in registers: this is where the time goes.
    let mut here = *bits;
    here.symbol_and_its_bits(dc)?;
    let mut index = 1;
    while index < 64 {
        here.fill();
        let (mut n_bits, mut n_coefficients) = ac.steps[(here.value >> (64 - LOOKED_AT)) as usize];
        if n_bits == 0 {
            let (length, symbol) = here.next_symbol(ac)?;
            (n_bits, n_coefficients) = step(length, symbol);
        }
        here.drop(u32::from(n_bits))?;
        index += u32::from(n_coefficients);
    }
    *bits = here;
    Ok(())
}

/// The bits of compressed data up to the next marker.
#[derive(Clone, Copy)]
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in `value`.
    at: usize,
    /// The next bits, from the top. Below the last of them stand such of the next byte or zeros.
    value: u64,
    /// How many there are.
    n: u32,
}

impl Bits<'_> {
    /// Takes in bytes until there are at least 32 bits, or no more before a marker.
    #[inline]
    fn fill(&mut self) {
        if self.n >= 32 {
            return;
        }
        if let Some(next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let next = u64::from_be_bytes(*next);
            // Whether a byte is 0xff: inverted, whether one is zero.
            let inverted = !next;
            let lowest = 0x0101_0101_0101_0101;
            if inverted.wrapping_sub(lowest) & !inverted & (lowest << 7) == 0 {
                let n_bytes = (63 - self.n) / 8;
                self.value |= next >> self.n;
                self.n += 8 * n_bytes;
                self.at += n_bytes as usize;
                return;
            }
        }
        self.fill_by_bytes();
    }

    #[cold]
    fn fill_by_bytes(&mut self) {
        while self.n <= 56 {
            let width = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => 2, // a stuffed 0xff
                None | Some([] | [0xff, ..]) => break,
                Some(_) => 1,
            };
            self.value |= u64::from(self.bytes[self.at]) << (56 - self.n);
            self.n += 8;
            self.at += width;
        }
        // What stands below may be of a byte that is not data.
        self.value &= u64::MAX.checked_shl(64 - self.n).unwrap_or(0);
    }

    #[inline]
    fn pass(&mut self, n: u32) -> Result<(), Stop> {
        self.fill();
        self.drop(n)
    }

    #[inline]
    fn drop(&mut self, n: u32) -> Result<(), Stop> {
        if n > self.n {
            return Err(Stop::NoBits);
        }
        self.value <<= n;
        self.n -= n;
        Ok(())
    }

    /// At most 16 bits as a number.
    fn take(&mut self, n: u32) -> Result<u32, Stop> {
        self.fill();
        let taken = (self.value >> 32 >> (32 - n.min(32))) as u32;
        self.drop(n)?;
        Ok(taken)
    }

    #[inline]
    fn symbol(&mut self, table: &HuffmanTable) -> Result<u8, Stop> {
        self.fill();
        let (length, symbol) = self.next_symbol(table)?;
        self.drop(length)?;
        Ok(symbol)
    }

    /// A symbol, and the bits behind it, whose number its lower half says.
    #[inline]
    fn symbol_and_its_bits(&mut self, table: &HuffmanTable) -> Result<u8, Stop> {
        self.fill();
        let (length, symbol) = self.next_symbol(table)?;
        self.drop(length + u32::from(symbol & 15))?;
        Ok(symbol)
    }

    #[inline]
    fn next_symbol(&self, table: &HuffmanTable) -> Result<(u32, u8), Stop> {
        // What is there of a code that was cut through may look like one that there is none of.
        let stop = if self.n < 16 { Stop::NoBits } else { Stop::NoSuchCode };
        table.find((self.value >> 48) as u32).ok_or(stop)
    }

    /// Goes behind the restart marker here; what stands before it is left out.
    fn restart(&mut self) -> bool {
        (self.value, self.n) = (0, 0);
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.windows(2).position(is_marker) {
            Some(offset) if matches!(rest[offset + 1], 0xd0..=0xd7) => {
                self.at += offset + 2;
                true
            }
            _ => false,
        }
    }

    /// Whether the bits end before a restart marker: data are lost in the middle of the file, not at its end.
    fn is_before_restart(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let marker = rest.iter().find(|&&byte| byte != 0xff);
        rest.first() == Some(&0xff) && matches!(marker, Some(0xd0..=0xd7))
    }

    /// Behind the byte that holds the last bit that was read.
    fn position(&self) -> usize {
        let mut at = self.at;
        for _ in 0..self.n / 8 {
            let is_stuffed = at >= 2 && self.bytes.get(at - 2..at) == Some(&[0xff, 0]);
            at -= if is_stuffed { 2 } else { 1 };
        }
        at
    }
}
