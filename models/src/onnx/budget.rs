//! Counts what a file would ask of memory before any of it is decoded: an empty message takes two bytes in a file and a few
//! hundred in memory.

/// The most messages, names and repeated byte fields of a file; a network of a thousand layers has some ten thousand.
const MOST: usize = 400_000;
/// Messages in messages; a network's own go eight deep, and four more with each graph in a node.
const DEEPEST: usize = 40;

/// Refuses a file that is no protobuf message or holds too many of them.
///
/// Only the messages that [`super::proto`] and [`super::inspect`] have are looked into, by the numbers of their fields.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut n_left = MOST;
    walk(bytes, Message::Model, DEEPEST, &mut n_left)
}

/// The messages whose fields are messages.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Sparse,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// One without messages in it.
    Leaf,
}

impl Message {
    /// What the field with this number holds, if it is decoded: a message, or something else of a length.
    fn field(self, number: u64) -> Option<Message> {
        Some(match (self, number) {
            (Message::Model, 7) => Message::Graph,
            (Message::Model, 8 | 14) => Message::Leaf,
            (Message::Model, 20) => Message::Training,
            (Message::Model, 25) => Message::Function,
            (Message::Training, 1 | 2) | (Message::Attribute, 6 | 11) => Message::Graph,
            (Message::Graph, 1) | (Message::Function, 7) => Message::Node,
            (Message::Graph, 5) | (Message::Attribute, 5 | 10) | (Message::Sparse, 1 | 2) => Message::Tensor,
            (Message::Graph, 11 | 12) => Message::ValueInfo,
            (Message::Graph, 15) | (Message::Attribute, 22 | 23) => Message::Sparse,
            (Message::Node, 5) => Message::Attribute,
            (Message::Tensor, 13) => Message::Leaf,
            (Message::ValueInfo, 2) => Message::Type,
            (Message::Type, 1) => Message::TensorType,
            (Message::TensorType, 2) => Message::Shape,
            (Message::Shape, 1) => Message::Leaf,
            _ => return None,
        })
    }
}

fn walk(mut rest: &[u8], message: Message, depth: usize, n_left: &mut usize) -> Result<(), String> {
    let cut = || "it ends within a field".to_owned();
    while !rest.is_empty() {
        let key = varint(&mut rest).ok_or_else(cut)?;
        let n_bytes = match key & 7 {
            0 => {
                varint(&mut rest).ok_or_else(cut)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest).ok_or_else(cut)?).unwrap_or(usize::MAX),
            5 => 4,
            kind => return Err(format!("a field is of the wire type {kind}, which ONNX does not use")),
        };
        let (field, behind) = rest.split_at_checked(n_bytes).ok_or_else(cut)?;
        rest = behind;
        if key & 7 != 2 {
            continue;
        }
        *n_left =
            n_left.checked_sub(1).ok_or_else(|| format!("it has more than {MOST} messages and names"))?;
        if let Some(inner) = message.field(key >> 3) {
            let depth = depth.checked_sub(1).ok_or("its messages are nested too deep")?;
            walk(field, inner, depth, n_left)?;
        }
    }
    Ok(())
}

/// A number of at most ten bytes, seven bits each, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::super::proto;
    use super::*;

    #[test]
    fn a_small_file_that_asks_for_much_is_refused() {
        // A graph of empty nodes, two bytes each.
        let graph = [0x0a, 0x00].repeat(MOST + 1);
        let mut file = vec![0x3a];
        prost::encoding::encode_varint(graph.len() as u64, &mut file);
        file.extend(&graph);
        assert!(check(&file).unwrap_err().contains("more than 400000"));
        let model = proto::Model { graph: Some(proto::Graph::default()), ..proto::Model::default() };
        check(&model.encode_to_vec()).unwrap();
        for bytes in [&[0x3a_u8, 5, 1][..], &[0x3a], &[0xff; 12], &[0x0b, 1]] {
            assert!(check(bytes).is_err());
        }
    }
}
