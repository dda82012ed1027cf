//! Whether an ONNX file is a model that turns a picture into an embedding, and how: what the file says, what was asked for, and
//! what has to be taken for granted, which is told.

use sketchfind_core::card::{ExternalFile, InputKind, MOST_BATCH, OnnxFacts, Pooling, Precision};

use super::inspect::{Axis, Inspected, Outlet};
use super::proto::{FLOAT, FLOAT16, UINT8};

/// What was asked for where a file does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The output, by its name.
    pub output: Option<String>,
    /// How it becomes an embedding.
    pub pooling: Option<Pooling>,
    /// Whether the channels of a picture are the last axis, and not the second.
    pub channels_last: Option<bool>,
    /// Width and height of a picture in pixels.
    pub side: Option<u32>,
}

/// How a file is a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The name of its input.
    pub input: String,
    /// What that takes.
    pub input_kind: InputKind,
    /// Width and height of a picture in pixels.
    pub side: u32,
    /// How many pictures it takes at once, where it takes no other number.
    pub batch: Option<usize>,
    /// The name of its output.
    pub output: String,
    /// How that becomes an embedding.
    pub pooling: Pooling,
    /// The width of an embedding.
    pub width: usize,
    /// The arithmetic of the file, or that of what it takes and gives where this is coarser.
    pub precision: Precision,
    /// What the file does not say and was taken for granted.
    pub assumed: Vec<String>,
}

/// The side of a picture where neither the file nor a wish says it: that of most networks.
const USUAL_SIDE: u32 = 224;

/// How a file is a model.
///
/// # Errors
/// Why it is none, with all that it takes and gives.
pub fn fit(file: &Inspected, wishes: &Wishes) -> Result<Fit, String> {
    of_parts(file, wishes).map_err(|reason| format!("{reason}; {}", contents(file)))
}

/// What a file takes and gives.
pub fn contents(file: &Inspected) -> String {
    let list = |outlets: &[Outlet]| {
        // A file may have any number of them, of names of any length.
        let mut told: Vec<String> =
            outlets.iter().take(12).map(|outlet| shortened(&outlet.to_string())).collect();
        if outlets.len() > told.len() {
            told.push(format!("and {} more", outlets.len() - told.len()));
        }
        if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
    };
    format!("the file takes {} and gives {}", list(&file.inputs), list(&file.outputs))
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    let start: String = text.chars().take(LONGEST).collect();
    if start.len() == text.len() { start } else { format!("{start}...") }
}

fn of_parts(file: &Inspected, wishes: &Wishes) -> Result<Fit, String> {
    let mut assumed = Vec::new();
    let [input] = file.inputs.as_slice() else {
        return Err(format!(
            "it has {} inputs, expected one, the picture; export the part of the model that sees pictures",
            file.inputs.len()
        ));
    };
    let axes = match &input.shape {
        Some(axes) if axes.len() == 4 => axes.as_slice(),
        _ => {
            return Err(format!(
                "its input is {input}, expected four axes: pictures, height, width and channels"
            ));
        }
    };
    let channels_last = channels_last(input, axes, wishes.channels_last, &mut assumed)?;
    let input_kind = match (input.element, channels_last) {
        (FLOAT, false) => InputKind::Float32Nchw,
        (FLOAT, true) => InputKind::Float32Nhwc,
        (FLOAT16, false) => InputKind::Float16Nchw,
        (FLOAT16, true) => InputKind::Float16Nhwc,
        (UINT8, false) => InputKind::Uint8Nchw,
        (UINT8, true) => InputKind::Uint8Nhwc,
        _ => return Err(format!("its input is {input}, expected float32, float16 or uint8")),
    };
    let of_sides = if channels_last { [&axes[1], &axes[2]] } else { [&axes[2], &axes[3]] };
    let side = side(input, of_sides, wishes.side, &mut assumed)?;
    let output = output(file, wishes.output.as_deref())?;
    if !matches!(output.element, FLOAT | FLOAT16) {
        return Err(format!("its output is {output}, expected float32 or float16"));
    }
    let Some(given) = &output.shape else {
        return Err(format!("its output is {output}, expected a number of axes that is known"));
    };
    let pooling = pooling(output, given, wishes.pooling, channels_last, &mut assumed)?;
    let width = given[pooling.axis()].size();
    let width = width.ok_or_else(|| {
        format!("its output is {output}, of an open width; expected a fixed one as axis {}", pooling.axis())
    })?;
    let precision = match file.precision {
        Precision::Fp32 if [input.element, output.element].contains(&FLOAT16) => Precision::Fp16,
        precision => precision,
    };
    let batch = batch(input, &axes[0], output, &given[0], &mut assumed)?;
    Ok(Fit {
        input: input.name.clone(),
        input_kind,
        side,
        batch,
        output: output.name.clone(),
        pooling,
        width,
        precision,
        assumed,
    })
}

fn channels_last(
    input: &Outlet,
    axes: &[Axis],
    wish: Option<bool>,
    assumed: &mut Vec<String>,
) -> Result<bool, String> {
    let may_be = |axis: &Axis| axis.size().is_none_or(|size| size == 3);
    let (first, last) = (may_be(&axes[1]), may_be(&axes[3]));
    match wish {
        Some(true) if last => return Ok(true),
        Some(false) if first => return Ok(false),
        None if first || last => {}
        _ => {
            return Err(format!(
                "its input is {input}, expected three channels, as the axis 1 or 3 that was asked for"
            ));
        }
    }
    let is_three = |axis: &Axis| axis.size() == Some(3);
    match (is_three(&axes[1]), is_three(&axes[3])) {
        (true, false) => return Ok(false),
        (false, true) => return Ok(true),
        _ => {}
    }
    if first != last {
        return Ok(last);
    }
    assumed.push("that channels come before height and width (--layout nchw)".into());
    Ok(false)
}

fn side(
    input: &Outlet,
    [height, width]: [&Axis; 2],
    wish: Option<u32>,
    assumed: &mut Vec<String>,
) -> Result<u32, String> {
    let fixed = match (height.size(), width.size()) {
        (Some(height), Some(width)) if height != width => {
            return Err(format!(
                "its input is {input}, pictures of {width} x {height} pixels, expected squares"
            ));
        }
        (height, width) => height.or(width),
    };
    match (fixed, wish) {
        (None, None) => {
            assumed.push(format!("pictures of {USUAL_SIDE} x {USUAL_SIDE} pixels (--side {USUAL_SIDE})"));
            Ok(USUAL_SIDE)
        }
        (None, Some(wish)) => Ok(wish),
        (Some(fixed), wish) => match u32::try_from(fixed).ok().filter(|side| (1..=8192).contains(side)) {
            None => Err(format!("its input is {input}, expected sides of 1 to 8192 pixels")),
            Some(side) if wish.is_none_or(|wish| wish == side) => Ok(side),
            Some(side) => {
                Err(format!("its input is {input}, of a side of {side} pixels, another was asked for"))
            }
        },
    }
}

fn output<'f>(file: &'f Inspected, wish: Option<&str>) -> Result<&'f Outlet, String> {
    match (file.outputs.as_slice(), wish) {
        (outputs, Some(wish)) => outputs
            .iter()
            .find(|output| output.name == wish)
            .ok_or_else(|| format!("it has no output '{wish}'")),
        ([output], None) => Ok(output),
        ([], None) => Err("it has no output".into()),
        (outputs, None) => {
            Err(format!("it has {} outputs; say with --output which is the embedding", outputs.len()))
        }
    }
}

fn pooling(
    output: &Outlet,
    axes: &[Axis],
    wish: Option<Pooling>,
    channels_last: bool,
    assumed: &mut Vec<String>,
) -> Result<Pooling, String> {
    let fitting = Pooling::ALL.into_iter().filter(|pooling| pooling.rank() == axes.len());
    let fitting: Vec<&str> = fitting.map(Pooling::name).collect();
    let refused = |what: String| Err(format!("its output is {output}, of {} axes; {what}", axes.len()));
    if fitting.is_empty() {
        return refused("expected 2, an embedding, 3, tokens, or 4, a map".into());
    }
    let pooling = match wish {
        Some(wish) if wish.rank() == axes.len() => wish,
        Some(wish) => {
            return refused(format!(
                "{} is for {} axes, expected {}",
                wish.name(),
                wish.rank(),
                fitting.join(" or ")
            ));
        }
        None if axes.len() == 3 => {
            return refused(format!(
                "say with --pooling how tokens become one embedding: {}",
                fitting.join(", ")
            ));
        }
        None if axes.len() == 2 => Pooling::None,
        None => {
            let pooling = if channels_last { Pooling::MeanOfMapNhwc } else { Pooling::MeanOfMap };
            let is_one_place = axes.iter().filter(|axis| axis.size() == Some(1)).count() >= 2;
            if !is_one_place {
                assumed.push(format!("that the map is averaged (--pooling {})", pooling.name()));
            }
            pooling
        }
    };
    if pooling == Pooling::MeanOfPatches && axes[1].size() == Some(1) {
        return refused("there is no token but the first".into());
    }
    Ok(pooling)
}

fn batch(
    input: &Outlet,
    of_input: &Axis,
    output: &Outlet,
    of_output: &Axis,
    assumed: &mut Vec<String>,
) -> Result<Option<usize>, String> {
    let batch = match (of_input.size(), of_output.size()) {
        (Some(taken), Some(given)) if taken != given => {
            return Err(format!(
                "its input is {input}, its output {output}, expected as many embeddings as pictures"
            ));
        }
        (None, Some(given)) => {
            assumed.push(format!("that it takes {given} pictures at once, as many as it gives embeddings"));
            Some(given)
        }
        (taken, _) => taken,
    };
    match batch {
        Some(n) if n > MOST_BATCH => {
            Err(format!("its input is {input}, {n} pictures at once, expected at most {MOST_BATCH}"))
        }
        batch => Ok(batch),
    }
}

impl Fit {
    /// What a card says of the file.
    pub fn facts(
        &self,
        file: &Inspected,
        sha256: String,
        external_data: Vec<ExternalFile>,
        unit_length: bool,
    ) -> OnnxFacts {
        OnnxFacts {
            sha256,
            input: self.input.clone(),
            input_kind: self.input_kind,
            batch: self.batch,
            output: self.output.clone(),
            pooling: self.pooling,
            unit_length,
            external_data,
            opset: file.opset,
            ir_version: file.ir_version,
            n_parameters: file.n_parameters,
            precision: self.precision,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn outlet(name: &str, element: i32, shape: &str) -> Outlet {
        let axis = |text: &str| text.parse().map_or_else(|_| Axis::Open(text.into()), Axis::Fixed);
        let shape = (!shape.is_empty()).then(|| shape.split(' ').map(axis).collect());
        Outlet { name: name.into(), element, shape }
    }

    fn file(inputs: &[(i32, &str)], outputs: &[(i32, &str)]) -> Inspected {
        let outlets = |kind: &str, all: &[(i32, &str)]| {
            let outlet = |(number, &(element, shape)): (usize, &(i32, &str))| {
                outlet(&format!("{kind}{number}"), element, shape)
            };
            all.iter().enumerate().map(outlet).collect()
        };
        Inspected {
            ir_version: 8,
            opset: 17,
            producer: String::new(),
            inputs: outlets("in", inputs),
            outputs: outlets("out", outputs),
            external: BTreeMap::new(),
            n_parameters: 0,
            precision: Precision::Fp32,
        }
    }

    #[test]
    fn what_a_file_says_is_taken_from_it() {
        let none = Wishes::default();
        let tokens = Wishes { pooling: Some(Pooling::MeanOfPatches), ..Wishes::default() };
        let last = Wishes { channels_last: Some(true), side: Some(96), ..Wishes::default() };
        for (input, output, wishes, kind, side, batch, pooling, width, n_assumed) in [
            ((FLOAT, "n 3 64 64"), "n 5", &none, InputKind::Float32Nchw, 64, None, Pooling::None, 5, 0),
            ((FLOAT16, "4 32 32 3"), "4 5", &none, InputKind::Float16Nhwc, 32, Some(4), Pooling::None, 5, 0),
            ((UINT8, "n 3 h 48"), "n 5", &none, InputKind::Uint8Nchw, 48, None, Pooling::None, 5, 0),
            ((FLOAT, "n c h w"), "n 5", &none, InputKind::Float32Nchw, 224, None, Pooling::None, 5, 2),
            ((FLOAT, "n c h w"), "n 5", &last, InputKind::Float32Nhwc, 96, None, Pooling::None, 5, 0),
            (
                (FLOAT, "n h w 3"),
                "n 7 7 5",
                &none,
                InputKind::Float32Nhwc,
                224,
                None,
                Pooling::MeanOfMapNhwc,
                5,
                2,
            ),
            ((FLOAT, "n 3 8 8"), "n 5 1 1", &none, InputKind::Float32Nchw, 8, None, Pooling::MeanOfMap, 5, 0),
            (
                (FLOAT, "n 3 8 8"),
                "n t 5",
                &tokens,
                InputKind::Float32Nchw,
                8,
                None,
                Pooling::MeanOfPatches,
                5,
                0,
            ),
            ((FLOAT, "n 3 8 8"), "1 5", &none, InputKind::Float32Nchw, 8, Some(1), Pooling::None, 5, 1),
            ((FLOAT, "1 3 8 8"), "m 5", &none, InputKind::Float32Nchw, 8, Some(1), Pooling::None, 5, 0),
            // The only axis that may hold channels does.
            ((FLOAT, "n c 8 8"), "n 5", &none, InputKind::Float32Nchw, 8, None, Pooling::None, 5, 0),
        ] {
            let fitted = fit(&file(&[input], &[(FLOAT, output)]), wishes).unwrap();
            let got = (fitted.input_kind, fitted.side, fitted.batch, fitted.pooling, fitted.width);
            assert_eq!(got, (kind, side, batch, pooling, width), "{input:?} {output}");
            assert_eq!(fitted.assumed.len(), n_assumed, "{input:?} {output}: {:?}", fitted.assumed);
        }
        for (taken, given, precision) in [
            (FLOAT, FLOAT, Precision::Fp32),
            (FLOAT, FLOAT16, Precision::Fp16),
            (FLOAT16, FLOAT, Precision::Fp16),
        ] {
            let fitted = fit(&file(&[(taken, "n 3 8 8")], &[(given, "n 5")]), &none).unwrap();
            assert_eq!(fitted.precision, precision);
        }
        let two = file(&[(FLOAT, "n 3 8 8")], &[(FLOAT, "n t 5"), (FLOAT, "n 6")]);
        let second = Wishes { output: Some("out1".into()), ..Wishes::default() };
        assert_eq!(fit(&two, &second).unwrap().output, "out1");
    }

    #[test]
    fn what_does_not_fit_is_one_error_that_lists_what_the_file_has() {
        let picture = (FLOAT, "n 3 8 8");
        let side = Wishes { side: Some(16), ..Wishes::default() };
        let last = Wishes { channels_last: Some(true), ..Wishes::default() };
        let class = Wishes { pooling: Some(Pooling::ClassToken), ..Wishes::default() };
        let patches = Wishes { pooling: Some(Pooling::MeanOfPatches), ..Wishes::default() };
        let absent = Wishes { output: Some("pooled".into()), ..Wishes::default() };
        let none = Wishes::default();
        for (inputs, outputs, wishes, part) in [
            (vec![picture, (7, "n 77")], vec![(FLOAT, "n 5")], &none, "it has 2 inputs"),
            (vec![], vec![(FLOAT, "n 5")], &none, "it has 0 inputs"),
            (vec![(7, "n 3 8 8")], vec![(FLOAT, "n 5")], &none, "expected float32, float16 or uint8"),
            (vec![(FLOAT, "n 192")], vec![(FLOAT, "n 5")], &none, "expected four axes"),
            (vec![(FLOAT, "")], vec![(FLOAT, "n 5")], &none, "of unknown shape"),
            (vec![(FLOAT, "n 1 8 8")], vec![(FLOAT, "n 5")], &none, "expected three channels"),
            (vec![(FLOAT, "n 3 8 9")], vec![(FLOAT, "n 5")], &none, "9 x 8 pixels, expected squares"),
            (vec![(FLOAT, "n 3 9000 9000")], vec![(FLOAT, "n 5")], &none, "1 to 8192"),
            (vec![picture], vec![(FLOAT, "n 5")], &side, "another was asked for"),
            (vec![picture], vec![(FLOAT, "n 5")], &last, "that was asked for"),
            (vec![picture], vec![(FLOAT, "n 5"), (FLOAT, "n 6")], &none, "--output"),
            (vec![picture], vec![], &none, "it has no output"),
            (vec![picture], vec![(FLOAT, "n 5")], &absent, "no output 'pooled'"),
            (vec![picture], vec![(7, "n 5")], &none, "'out0' int64 [n, 5], expected float32 or float16"),
            (vec![picture], vec![(FLOAT, "n d")], &none, "open width"),
            (vec![picture], vec![(FLOAT, "5")], &none, "of 1 axes"),
            (vec![picture], vec![(FLOAT, "n 2 2 2 5")], &none, "of 5 axes"),
            (vec![picture], vec![(FLOAT, "")], &none, "known"),
            (vec![picture], vec![(FLOAT, "n t 5")], &none, "class_token, mean_of_tokens, mean_of_patches"),
            (vec![picture], vec![(FLOAT, "n 5")], &class, "class_token is for 3 axes, expected none"),
            (vec![picture], vec![(FLOAT, "n 1 5")], &patches, "no token but the first"),
            (vec![(FLOAT, "2 3 8 8")], vec![(FLOAT, "3 5")], &none, "as many embeddings as pictures"),
            (vec![(FLOAT, "5000 3 8 8")], vec![(FLOAT, "5000 5")], &none, "at most 4096"),
        ] {
            let message = fit(&file(&inputs, &outputs), wishes).unwrap_err();
            assert!(message.contains(part), "{message}");
            assert!(message.contains("the file takes ") && message.contains(" and gives "), "{message}");
            assert!(outputs.is_empty() || message.contains("'out0'"), "{message}");
        }
    }
}
