//! Messages within messages, grouped: what has the same head under the same parent is the same message.

use std::collections::HashMap;

use crate::wire::Writer;

/// A request being grouped; nodes come out in the order they were first seen.
#[derive(Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    known: HashMap<Identity, NodeId>,
    roots: Vec<NodeId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeId(usize);

#[derive(PartialEq, Eq, Hash)]
struct Identity {
    parent: Option<NodeId>,
    number: u32,
    head: Vec<u8>,
    kind: Vec<u8>,
}

struct Node {
    /// The field of the parent that holds this message.
    number: u32,
    /// Wire bytes of the fields that make it what it is.
    head: Vec<u8>,
    /// The records in it.
    body: Writer,
    children: Vec<NodeId>,
}

impl Tree {
    /// The message `head` in field `number` of `parent`; of the request without one.
    pub(super) fn node(&mut self, parent: Option<NodeId>, number: u32, head: Vec<u8>) -> NodeId {
        self.node_of_kind(parent, number, head, Vec::new())
    }

    /// The same, shared only by records of one kind: what the kind says is written by a child.
    pub(super) fn node_of_kind(&mut self, parent: Option<NodeId>, number: u32, head: Vec<u8>, kind: Vec<u8>) -> NodeId {
        let id = NodeId(self.nodes.len());
        let known = *self.known.entry(Identity { parent, number, head, kind }).or_insert_with_key(|identity| {
            let head = identity.head.clone();
            self.nodes.push(Node { number, head, body: Writer::default(), children: Vec::new() });
            id
        });
        if known == id {
            match parent {
                Some(parent) => self.nodes[parent.0].children.push(id),
                None => self.roots.push(id),
            }
        }
        known
    }

    /// Appends a record in field `number` of `node`.
    pub(super) fn record(&mut self, node: NodeId, number: u32, write: impl FnOnce(&mut Writer)) {
        self.nodes[node.0].body.message(number, write);
    }

    pub(super) fn into_request(mut self) -> Vec<u8> {
        let mut out = Writer::default();
        for root in std::mem::take(&mut self.roots) {
            self.write(root, &mut out);
        }
        out.into_bytes()
    }

    /// Four levels at most: resource, scope, metric, data.
    fn write(&mut self, NodeId(index): NodeId, out: &mut Writer) {
        let node = &mut self.nodes[index];
        let (body, children) = (std::mem::take(&mut node.body), std::mem::take(&mut node.children));
        let open = out.open(node.number);
        out.raw(&node.head);
        out.raw(&body.into_bytes());
        children.into_iter().for_each(|child| self.write(child, out));
        out.close(open);
    }
}
