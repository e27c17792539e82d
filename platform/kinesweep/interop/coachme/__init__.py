"""Conversion of the released data of CoachMe (MotionExpert): figure skating and boxing."""
