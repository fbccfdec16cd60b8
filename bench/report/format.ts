/**
 * Numbers as figures show them: three digits and a unit, so that labels stay short. Tables have figures of their own, table.ts.
 */
import { formatSize } from '../measurement.js';

function threeDigits(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/** Microseconds. */
export function formatTime(us: number): string {
  if (us >= 1e6) return `${threeDigits(us / 1e6)} s`;
  if (us >= 1000) return `${threeDigits(us / 1000)} ms`;
  if (us >= 1) return `${threeDigits(us)} µs`;
  return `${Math.round(us * 1000)} ns`;
}

/** Of something, a second. */
export function formatRate(perSecond: number): string {
  if (perSecond === 0) return '0';
  if (perSecond >= 1e6) return `${threeDigits(perSecond / 1e6)} M/s`;
  if (perSecond >= 1000) return `${threeDigits(perSecond / 1000)} k/s`;
  return `${threeDigits(perSecond)} /s`;
}

export function formatBandwidth(gigabytesPerSecond: number): string {
  if (gigabytesPerSecond === 0) return '0';
  return gigabytesPerSecond >= 0.1
    ? `${threeDigits(gigabytesPerSecond)} GB/s`
    : `${threeDigits(gigabytesPerSecond * 1000)} MB/s`;
}

/** Processor time for each GB. */
export function formatCost(secondsPerGB: number): string {
  return secondsPerGB === 0 ? '0' : `${threeDigits(secondsPerGB)} s/GB`;
}

export function formatKilobytes(kilobytes: number): string {
  return kilobytes === 0 ? '0' : `${threeDigits(kilobytes)} kB`;
}

export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

export { formatSize };
