// SPDX-License-Identifier: MPL-2.0

//! Draws the curves, each as SVG and as PNG: both axes logarithmic, every line labelled at its end. Colour tells the
//! kernel, strength and dashes tell the series.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

use crate::guest::Kernel;
use crate::results::Results;

const SIZE: (u32, u32) = (960, 560);
const INK: RGBColor = RGBColor(0x22, 0x26, 0x2b);
const QUIET: RGBColor = RGBColor(0x6b, 0x72, 0x7b);
const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xeb);
/// Of the strongest series; the others fade towards white.
const POLLUX: RGBColor = RGBColor(0xc8, 0x3e, 0x12);
const LINUX: RGBColor = RGBColor(0x1f, 0x5f, 0x99);

/// A figure.
pub struct Figure {
    /// The curve's name in the results, and the file's.
    pub curve: &'static str,
    title: &'static str,
    x: &'static str,
}

/// All figures, in the order of the results page.
pub const FIGURES: [Figure; 8] = [
    Figure { curve: "select", title: "select(2), nothing to wait for", x: "descriptors in the set" },
    Figure { curve: "poll", title: "poll(2), nothing to wait for", x: "descriptors in the set" },
    Figure {
        curve: "epoll_wait",
        title: "epoll_wait(2), level-triggered, nothing to wait for",
        x: "descriptors registered",
    },
    Figure { curve: "epoll_ctl", title: "epoll_ctl(2), one ADD and one DEL", x: "other descriptors registered" },
    Figure { curve: "notify", title: "write(2) to an eventfd that epolls watch", x: "epolls that watch it" },
    Figure {
        curve: "waiters",
        title: "waking one of many threads in epoll_wait(2), and its answer",
        x: "threads that wait on one epoll",
    },
    Figure {
        curve: "accept",
        title: "a connection to one of many servers",
        x: "threads that wait, each on an epoll of its own",
    },
    Figure { curve: "timers", title: "timerfd_settime(2)", x: "timers that are armed" },
];

/// One line of a figure.
struct Line {
    label: String,
    kernel: Kernel,
    /// Which of the curve's series, from the strongest on.
    rank: usize,
    points: Vec<(u64, f64)>,
}

/// Draws all figures for which there is something to draw, as `DIRECTORY/CURVE.svg` and, if wanted, `.png`. Returns the
/// names of those drawn.
///
/// # Errors
///
/// A file cannot be written.
pub fn draw(results: &Results, directory: &Path, png: bool) -> Result<Vec<&'static str>> {
    register_fonts()?;
    let mut drawn = Vec::new();
    for figure in &FIGURES {
        let lines = lines(results, figure.curve);
        if lines.is_empty() {
            continue;
        }
        let svg = directory.join(format!("{}.svg", figure.curve));
        paint(&SVGBackend::new(&svg, SIZE).into_drawing_area(), figure, &lines)?;
        if png {
            let png = directory.join(format!("{}.png", figure.curve));
            paint(&BitMapBackend::new(&png, SIZE).into_drawing_area(), figure, &lines)?;
        }
        drawn.push(figure.curve);
    }
    Ok(drawn)
}

/// Text in bitmaps: no font of this machine is needed, so the figures are the same everywhere.
fn register_fonts() -> Result<()> {
    let font = epaint_default_fonts::UBUNTU_LIGHT;
    for style in [FontStyle::Normal, FontStyle::Bold] {
        register_font("sans-serif", style, font).map_err(|_| anyhow!("the font is not understood"))?;
    }
    Ok(())
}

fn lines(results: &Results, curve: &str) -> Vec<Line> {
    let points: Vec<_> = results
        .rows
        .iter()
        .filter_map(|line| line.point.as_ref().filter(|point| point.curve == curve).map(|point| (line, point)))
        .collect();
    let mut series: Vec<&str> = Vec::new();
    for (_, point) in &points {
        if !series.contains(&point.series.as_str()) {
            series.push(&point.series);
        }
    }
    let mut lines = Vec::new();
    for (rank, name) in series.iter().enumerate() {
        for kernel in [Kernel::Best, Kernel::Pollux] {
            let measured = points.iter().filter(|(_, point)| point.series == *name);
            let mut points: Vec<_> = measured.filter_map(|(line, point)| Some((point.x, line.on(kernel)?))).collect();
            points.sort_by_key(|(x, _)| *x);
            if !points.is_empty() {
                let whose = if kernel == Kernel::Pollux { "Pollux" } else { "Linux" };
                let label = if series.len() == 1 { whose.to_owned() } else { format!("{whose}, {name}") };
                lines.push(Line { label, kernel, rank, points });
            }
        }
    }
    lines
}

/// The plot's place in the picture, and its scales.
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let x = || points().map(|(x, _)| position(*x));
        let y = || points().map(|(_, y)| y.log10());
        Self {
            left: 92,
            right: SIZE.0 as i32 - 190,
            top: 92,
            bottom: SIZE.1 as i32 - 64,
            x: (x().fold(f64::MAX, f64::min), x().fold(f64::MIN, f64::max).max(0.5)),
            // Whole decades below and above, so that every figure shows growth at the same slope or less.
            y: (y().fold(f64::MAX, f64::min).floor(), y().fold(f64::MIN, f64::max).ceil()),
        }
    }

    fn px(&self, x: f64) -> i32 {
        self.left + ((x - self.x.0) / (self.x.1 - self.x.0) * f64::from(self.right - self.left)) as i32
    }

    fn py(&self, y: f64) -> i32 {
        self.bottom - ((y - self.y.0) / (self.y.1 - self.y.0).max(1.0) * f64::from(self.bottom - self.top)) as i32
    }
}

/// Where a number lies on the logarithmic axis; 0, which has no logarithm, half a decade before 1.
fn position(x: u64) -> f64 {
    if x == 0 { -0.5 } else { (x as f64).log10() }
}

fn paint<B: DrawingBackend>(area: &DrawingArea<B, Shift>, figure: &Figure, lines: &[Line]) -> Result<()>
where
    B::ErrorType: 'static,
{
    area.fill(&RGBColor(0xff, 0xff, 0xff)).map_err(failed)?;
    let frame = Frame::of(lines);
    write(area, figure.title, (28, 20), 24, INK, Pos::new(HPos::Left, VPos::Top))?;
    let subtitle = "instructions per operation: lower is better; both axes are logarithmic";
    write(area, subtitle, (28, 52), 15, QUIET, Pos::new(HPos::Left, VPos::Top))?;
    paint_grid(area, &frame, figure, lines)?;
    for line in lines {
        paint_line(area, &frame, line)?;
    }
    paint_labels(area, &frame, lines)?;
    area.present().map_err(failed)
}

fn paint_grid<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    frame: &Frame,
    figure: &Figure,
    lines: &[Line],
) -> Result<()>
where
    B::ErrorType: 'static,
{
    for decade in frame.y.0 as i32..=frame.y.1 as i32 {
        let y = frame.py(f64::from(decade));
        area.draw(&PathElement::new(vec![(frame.left, y), (frame.right, y)], GRID.stroke_width(1))).map_err(failed)?;
        let text = grouped(10_u64.pow(decade.max(0) as u32));
        write(area, &text, (frame.left - 10, y), 15, QUIET, Pos::new(HPos::Right, VPos::Center))?;
    }
    let marks: BTreeSet<u64> = lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x)).collect();
    let mut last = i32::MIN / 2;
    for mark in marks {
        let x = frame.px(position(mark));
        area.draw(&PathElement::new(vec![(x, frame.bottom), (x, frame.bottom + 5)], QUIET.stroke_width(1)))
            .map_err(failed)?;
        if x - last >= 44 {
            write(area, &grouped(mark), (x, frame.bottom + 9), 15, QUIET, Pos::new(HPos::Center, VPos::Top))?;
            last = x;
        }
    }
    area.draw(&PathElement::new(vec![(frame.left, frame.bottom), (frame.right, frame.bottom)], QUIET.stroke_width(1)))
        .map_err(failed)?;
    let middle = i32::midpoint(frame.left, frame.right);
    write(area, figure.x, (middle, frame.bottom + 34), 16, INK, Pos::new(HPos::Center, VPos::Top))
}

fn colour(line: &Line) -> RGBColor {
    let RGBColor(r, g, b) = if line.kernel == Kernel::Pollux { POLLUX } else { LINUX };
    let fade = [0.0, 0.35, 0.55][line.rank.min(2)];
    let mix = |part: u8| (f64::from(part) + (255.0 - f64::from(part)) * fade) as u8;
    RGBColor(mix(r), mix(g), mix(b))
}

fn paint_line<B: DrawingBackend>(area: &DrawingArea<B, Shift>, frame: &Frame, line: &Line) -> Result<()>
where
    B::ErrorType: 'static,
{
    let points: Vec<_> = line.points.iter().map(|(x, y)| (frame.px(position(*x)), frame.py(y.log10()))).collect();
    let colour = colour(line);
    area.draw(&PathElement::new(points.clone(), colour.stroke_width(3))).map_err(failed)?;
    for point in points {
        // Ours are full dots, Linux's are rings: the kernels can be told apart without colours.
        area.draw(&Circle::new(point, 5, colour.filled())).map_err(failed)?;
        if line.kernel != Kernel::Pollux {
            area.draw(&Circle::new(point, 2, RGBColor(0xff, 0xff, 0xff).filled())).map_err(failed)?;
        }
    }
    Ok(())
}

/// The labels stand at the lines' ends, pushed apart where they would touch.
fn paint_labels<B: DrawingBackend>(area: &DrawingArea<B, Shift>, frame: &Frame, lines: &[Line]) -> Result<()>
where
    B::ErrorType: 'static,
{
    const HEIGHT: i32 = 19;
    let mut labels: Vec<(i32, &Line)> =
        lines.iter().filter_map(|line| Some((frame.py(line.points.last()?.1.log10()), line))).collect();
    labels.sort_by_key(|(y, _)| *y);
    let wanted: Vec<i32> = labels.iter().map(|(y, _)| *y).collect();
    for ((_, line), y) in labels.iter().zip(spread(&wanted, HEIGHT)) {
        write(area, &line.label, (frame.right + 14, y), 16, colour_of_label(line), Pos::new(HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// Text has to be darker than a line to be read.
fn colour_of_label(line: &Line) -> RGBColor {
    if line.kernel == Kernel::Pollux { POLLUX } else { LINUX }
}

/// Sorted positions, at least `distance` apart, as near to where they were as that allows.
fn spread(wanted: &[i32], distance: i32) -> Vec<i32> {
    // Groups of labels that touch: their middle stays, they grow to both sides.
    let mut groups: Vec<(i32, i32, i32)> = Vec::new(); // sum of wanted, count, top
    for &y in wanted {
        groups.push((y, 1, y));
        while let [.., before, last] = groups.as_mut_slice()
            && before.2 + before.1 * distance > last.2
        {
            let (sum, count) = (before.0 + last.0, before.1 + last.1);
            *before = (sum, count, sum / count - (count - 1) * distance / 2);
            groups.pop();
        }
    }
    groups.iter().flat_map(|(_, count, top)| (0..*count).map(move |index| top + index * distance)).collect()
}

fn write<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    text: &str,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
    anchor: Pos,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let style = TextStyle::from(("sans-serif", size).into_font()).color(&colour).pos(anchor);
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

fn failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// 100,000 is easier to read than 100000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    // A comma: not every font of a bitmap has the thin space.
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_touch() {
        assert_eq!(spread(&[10, 100], 20), [10, 100]);
        assert_eq!(spread(&[100, 100], 20), [90, 110]);
        assert_eq!(spread(&[100, 101, 130], 20), [90, 110, 130]);
        assert_eq!(spread(&[100, 100, 110], 20), [83, 103, 123]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1), "1");
        assert_eq!(grouped(100_000), "100,000");
    }
}
