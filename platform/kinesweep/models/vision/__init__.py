"""The vision model of a translator: decoded frames in, one vector per time step out.

`tower` is the module that is trained; `window_plan` says which frames form which window and where
the vectors of a window go; `vision_loading` creates networks from a recipe or a saved
configuration.
"""
