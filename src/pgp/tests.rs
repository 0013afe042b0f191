//! Tests of the whole module, with fixed personas.

mod attacks;
mod certificates;
mod corpus;
mod judging;
mod offers;
mod peers;
mod ring;
mod speed;
mod support;
