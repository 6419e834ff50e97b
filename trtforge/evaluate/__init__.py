"""What an engine finds on images, and how good that is: agreement, mAP, accuracy, mIoU, pictures."""
