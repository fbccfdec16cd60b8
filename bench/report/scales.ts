/**
 * Axes: d3's scales with domains that fit what is shown, and as many ticks as can be read. It draws nothing.
 */
import { scaleLinear, scaleLog, type ScaleContinuousNumeric } from 'd3-scale';
import type { Axis } from './figure.js';

export interface AxisScale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** Of a logarithmic axis with fewer decades, also 2 and 5 of each are ticks. */
const DECADES_WITHOUT_STEPS = 2.6;
const LINEAR_TICKS = 5;
/** Space beyond the extreme values, as a factor where the axis is logarithmic and as a part of the largest where it is not. */
const LOG_MARGIN = 1.25;
const LINEAR_MARGIN = 0.06;

export function scaleOf(axis: Axis, values: readonly number[], range: readonly [number, number]): AxisScale {
  const [min, max] = [Math.min(...values), Math.max(...values)];
  if (axis.scale === 'linear') {
    const scale = scaleLinear([0, max * (1 + LINEAR_MARGIN)], range);
    return { at: scale, ticks: scale.ticks(LINEAR_TICKS) };
  }
  const scale = scaleLog([min / LOG_MARGIN, max * LOG_MARGIN], range);
  return { at: scale, ticks: logTicks(scale) };
}

function logTicks(scale: ScaleContinuousNumeric<number, number>): readonly number[] {
  const [low = 1, high = 10] = scale.domain();
  const decades = Math.log10(high / low);
  const firsts = decades > DECADES_WITHOUT_STEPS ? ['1'] : ['1', '2', '5'];
  return scale.ticks().filter((tick) => firsts.includes(tick.toExponential()[0] ?? ''));
}
