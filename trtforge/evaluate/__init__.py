"""Measure what an engine detects on images: agreement, mAP, accuracy, mIoU, and pictures."""
