//! Places a graph in layers from left to right: callers before callees, every arrow between neighbouring layers.
//!
//! Pure: names and arrows in, rectangles and ways out. Cycles are opened by turning an arrow round for the layout only.

use std::collections::{BTreeMap, BTreeSet};

/// A box to place, `width` and `height` in cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vertex {
    pub(super) width: u16,
    pub(super) height: u16,
}

/// An arrow by the indices of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) x: u16,
    pub(super) y: u16,
}

/// The stretch of an arrow between two neighbouring layers, as the columns and rows it turns at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) x: u16,
    pub(super) y: u16,
    /// Where it changes its row.
    pub(super) turn_x: u16,
    pub(super) to_x: u16,
    pub(super) to_y: u16,
}

/// The way of one arrow, left to right; drawn backwards when the arrow was turned round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) arrow: Arrow,
    pub(super) is_turned: bool,
    pub(super) stretches: Vec<Stretch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
    pub(super) ways: Vec<Way>,
    pub(super) width: u16,
    pub(super) height: u16,
}

/// Rows between two boxes of a layer: the most that fit are taken.
const GAP_ROWS: std::ops::RangeInclusive<u16> = 1..=4;
/// Columns between two layers: the least an arrow needs beside its turns, and the most that still reads as one line.
const GAP_COLUMNS_MIN: u16 = 4;
const GAP_COLUMNS_MAX: u16 = 24;
/// Passes that untangle the layers; more change nothing on graphs that fit a terminal.
const SWEEPS: usize = 6;

/// A vertex, or the place where a long arrow passes a layer.
struct Slot {
    layer: usize,
    height: u16,
    width: u16,
    vertex: Option<usize>,
    y: u16,
}

impl Slot {
    /// The row its arrows leave and reach it in.
    fn port(&self) -> u16 {
        self.y + port(self.height)
    }
}

/// The row of the name in a box of four rows, else the middle.
fn port(height: u16) -> u16 {
    if height == 4 { 1 } else { height / 2 }
}

/// None when it does not fit into `width` by `height` cells.
pub(super) fn layout(vertices: &[Vertex], arrows: &[Arrow], width: u16, height: u16) -> Option<Layout> {
    let (forward, turned) = open_cycles(vertices.len(), arrows);
    let layer_of = layers(vertices.len(), &forward);
    let mut slots: Vec<Slot> = vertices
        .iter()
        .enumerate()
        .map(|(index, vertex)| Slot {
            layer: layer_of[index],
            height: vertex.height,
            width: vertex.width,
            vertex: Some(index),
            y: 0,
        })
        .collect();
    let chains = chains(&forward, &mut slots);
    let steps: BTreeSet<(usize, usize)> =
        chains.iter().flat_map(|chain| chain.windows(2).map(|pair| (pair[0], pair[1]))).collect();
    let columns = order(&slots, &steps);
    let used_height = GAP_ROWS.rev().find_map(|gap| stack(&mut slots, &columns, &steps, height, gap))?;
    let (column_x, turn_x, used_width) = spread(&slots, &columns, &steps, width)?;

    let mut ways: Vec<Way> = Vec::new();
    for (chain, arrow) in chains.iter().zip(&forward) {
        let stretches = chain
            .windows(2)
            .map(|pair| {
                let (from, to) = (&slots[pair[0]], &slots[pair[1]]);
                let start = column_x[from.layer] + if from.vertex.is_some() { from.width } else { 0 };
                Stretch {
                    x: start,
                    y: from.port(),
                    turn_x: turn_x[&pair[0]],
                    to_x: column_x[to.layer].saturating_sub(u16::from(to.vertex.is_some())),
                    to_y: to.port(),
                }
            })
            .collect();
        let is_turned = turned.contains(arrow);
        let arrow = if is_turned { Arrow { from: arrow.to, to: arrow.from } } else { *arrow };
        ways.push(Way { arrow, is_turned, stretches });
    }
    let places =
        (0..vertices.len()).map(|index| Place { x: column_x[slots[index].layer], y: slots[index].y }).collect();
    Some(Layout { places, ways, width: used_width, height: used_height })
}

/// Arrows that all lead forward, and which of them were turned round for it. Loops to oneself are left out.
fn open_cycles(vertices: usize, arrows: &[Arrow]) -> (Vec<Arrow>, BTreeSet<Arrow>) {
    let arrows: BTreeSet<Arrow> = arrows.iter().copied().filter(|arrow| arrow.from != arrow.to).collect();
    let mut forward = BTreeSet::new();
    let mut turned = BTreeSet::new();
    // 0 not seen, 1 on the way here, 2 done. Sources first, so that arrows against the flow are the ones turned.
    let mut seen = vec![0_u8; vertices];
    let has_caller: BTreeSet<usize> = arrows.iter().map(|arrow| arrow.to).collect();
    let starts = (0..vertices).filter(|v| !has_caller.contains(v)).chain(0..vertices);
    for start in starts {
        if seen[start] != 0 {
            continue;
        }
        seen[start] = 1;
        let mut path = vec![(start, outgoing(&arrows, start))];
        while let Some((here, waiting)) = path.last_mut() {
            let here = *here;
            let Some(arrow) = waiting.pop() else {
                seen[here] = 2;
                path.pop();
                continue;
            };
            if seen[arrow.to] == 1 {
                let back = Arrow { from: arrow.to, to: arrow.from };
                if !arrows.contains(&back) {
                    forward.insert(back);
                }
                turned.insert(back);
            } else {
                forward.insert(arrow);
                if seen[arrow.to] == 0 {
                    seen[arrow.to] = 1;
                    path.push((arrow.to, outgoing(&arrows, arrow.to)));
                }
            }
        }
    }
    // Of two that call each other one way is drawn, in the direction of the flow.
    turned.retain(|arrow| !arrows.contains(arrow));
    (forward.into_iter().collect(), turned)
}

/// The last comes first off the stack.
fn outgoing(arrows: &BTreeSet<Arrow>, from: usize) -> Vec<Arrow> {
    arrows.iter().rev().copied().filter(|arrow| arrow.from == from).collect()
}

/// The longest way from a source decides the layer.
fn layers(vertices: usize, arrows: &[Arrow]) -> Vec<usize> {
    let mut layer = vec![0; vertices];
    for _ in 0..vertices {
        let mut is_settled = true;
        for arrow in arrows {
            if layer[arrow.to] <= layer[arrow.from] {
                layer[arrow.to] = layer[arrow.from] + 1;
                is_settled = false;
            }
        }
        if is_settled {
            break;
        }
    }
    layer
}

/// Every arrow as the slots it passes, one in each layer.
fn chains(arrows: &[Arrow], slots: &mut Vec<Slot>) -> Vec<Vec<usize>> {
    let mut chains = Vec::with_capacity(arrows.len());
    for arrow in arrows {
        let mut chain = vec![arrow.from];
        for layer in slots[arrow.from].layer + 1..slots[arrow.to].layer {
            chain.push(slots.len());
            slots.push(Slot { layer, height: 1, width: 0, vertex: None, y: 0 });
        }
        chain.push(arrow.to);
        chains.push(chain);
    }
    chains
}

/// The slots of each layer from top to bottom: each near the middle of its neighbours.
fn order(slots: &[Slot], steps: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let layers = slots.iter().map(|slot| slot.layer + 1).max().unwrap_or(0);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); layers];
    for (index, slot) in slots.iter().enumerate() {
        columns[slot.layer].push(index);
    }
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        let sequence: Vec<usize> =
            if forward { (1..layers).collect() } else { (0..layers.saturating_sub(1)).rev().collect() };
        for layer in sequence {
            let beside = if forward { layer - 1 } else { layer + 1 };
            let place: BTreeMap<usize, usize> =
                columns[beside].iter().enumerate().map(|(at, slot)| (*slot, at)).collect();
            let weight = |slot: usize| {
                let near: Vec<f64> =
                    neighbours(steps, slot).filter_map(|it| place.get(&it)).map(|at| *at as f64).collect();
                if near.is_empty() { f64::NAN } else { near.iter().sum::<f64>() / near.len() as f64 }
            };
            let mut weighted: Vec<(f64, usize)> = columns[layer].iter().map(|slot| (weight(*slot), *slot)).collect();
            weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
            columns[layer] = weighted.into_iter().map(|(_, slot)| slot).collect();
        }
    }
    columns
}

fn neighbours(steps: &BTreeSet<(usize, usize)>, slot: usize) -> impl Iterator<Item = usize> {
    steps.iter().filter_map(move |(from, to)| match slot {
        slot if slot == *from => Some(*to),
        slot if slot == *to => Some(*from),
        _ => None,
    })
}

/// Rows: each slot as near to the middle of those before it as the ones above it allow. Returns the height used.
fn stack(
    slots: &mut [Slot],
    columns: &[Vec<usize>],
    steps: &BTreeSet<(usize, usize)>,
    height: u16,
    gap: u16,
) -> Option<u16> {
    let tallest = columns.iter().map(|column| height_of(slots, column, gap)).max().unwrap_or(0);
    if tallest > height {
        return None;
    }
    for column in columns {
        let mut needed = height_of(slots, column, gap);
        let mut top = 0;
        for slot in column {
            let before: Vec<u16> =
                steps.iter().filter(|(_, to)| to == slot).map(|(from, _)| slots[*from].port()).collect();
            let own = slots[*slot].height;
            let wanted = match before.len() {
                0 => (tallest - needed) / 2 + top.min(needed),
                count => (before.iter().sum::<u16>() / count as u16).saturating_sub(port(own)),
            };
            let lowest = tallest.saturating_sub(needed);
            slots[*slot].y = wanted.clamp(top, lowest.max(top));
            top = slots[*slot].y + own + gap;
            needed = needed.saturating_sub(own + gap);
        }
    }
    Some(tallest)
}

fn height_of(slots: &[Slot], column: &[usize], gap: u16) -> u16 {
    let boxes: u16 = column.iter().map(|slot| slots[*slot].height).sum();
    boxes + gap * (column.len() as u16).saturating_sub(1)
}

/// Columns: layers share what width is left over; each slot with arrows gets its own column to turn in.
fn spread(
    slots: &[Slot],
    columns: &[Vec<usize>],
    steps: &BTreeSet<(usize, usize)>,
    width: u16,
) -> Option<(Vec<u16>, BTreeMap<usize, u16>, u16)> {
    let widths: Vec<u16> =
        columns.iter().map(|column| column.iter().map(|slot| slots[*slot].width).max().unwrap_or(0)).collect();
    let senders: Vec<Vec<usize>> = columns
        .iter()
        .map(|column| column.iter().copied().filter(|slot| steps.iter().any(|(from, _)| from == slot)).collect())
        .collect();
    let gaps = columns.len().saturating_sub(1) as u16;
    let least: u16 = senders.iter().take(usize::from(gaps)).map(|turns| GAP_COLUMNS_MIN + 2 * turns.len() as u16).sum();
    let boxes: u16 = widths.iter().sum();
    let surplus = width.checked_sub(boxes + least)?;
    let extra = surplus.checked_div(gaps).unwrap_or(0).min(GAP_COLUMNS_MAX);
    let mut x = 0;
    let mut column_x = Vec::with_capacity(columns.len());
    let mut turn_x = BTreeMap::new();
    for (layer, width) in widths.iter().enumerate() {
        column_x.push(x);
        x += width;
        if layer + 1 < widths.len() {
            let first = x + 1 + extra / 2;
            for (turn, slot) in senders[layer].iter().enumerate() {
                turn_x.insert(*slot, first + 2 * turn as u16);
            }
            x += GAP_COLUMNS_MIN + 2 * senders[layer].len() as u16 + extra;
        }
    }
    Some((column_x, turn_x, x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lays out boxes of one size in a wide space.
    fn lay(vertices: usize, arrows: &[(usize, usize)]) -> Layout {
        let vertices = vec![Vertex { width: 10, height: 4 }; vertices];
        let arrows: Vec<Arrow> = arrows.iter().map(|(from, to)| Arrow { from: *from, to: *to }).collect();
        layout(&vertices, &arrows, 200, 60).expect("there is room")
    }

    #[test]
    fn callers_stand_left_of_what_they_call() {
        let layout = lay(4, &[(0, 1), (1, 2), (0, 2), (2, 3)]);
        let x: Vec<u16> = layout.places.iter().map(|place| place.x).collect();
        assert!(x.is_sorted_by(|a, b| a < b), "{x:?}");
        let long = layout.ways.iter().find(|way| way.arrow == Arrow { from: 0, to: 2 }).expect("it is drawn");
        assert_eq!(long.stretches.len(), 2, "it passes a layer");
    }

    #[test]
    fn a_cycle_is_opened_and_loops_are_left_out() {
        let layout = lay(3, &[(0, 1), (1, 2), (2, 0), (1, 1)]);
        let turned: Vec<Arrow> = layout.ways.iter().filter(|way| way.is_turned).map(|way| way.arrow).collect();
        assert_eq!(turned, [Arrow { from: 2, to: 0 }]);
        assert_eq!(layout.ways.len(), 3);
    }

    #[test]
    fn boxes_of_a_layer_do_not_overlap() {
        let layout = lay(6, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
        let mut y: Vec<u16> = layout.places[1..].iter().map(|place| place.y).collect();
        y.sort();
        assert!(y.windows(2).all(|pair| pair[0] + 4 < pair[1]), "{y:?}");
        assert!(y.iter().all(|y| y + 4 <= layout.height), "{y:?}");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let vertices = vec![Vertex { width: 30, height: 4 }; 3];
        let arrows = [Arrow { from: 0, to: 1 }, Arrow { from: 1, to: 2 }];
        assert_eq!(layout(&vertices, &arrows, 80, 60), None);
        assert_eq!(layout(&vertices, &[], 200, 10), None);
    }
}
