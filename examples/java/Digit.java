import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A handwritten digit: what it is, and its shades of grey. */
record Digit(long label, float[] image) {
  /** Returns the label and the pixels of each line. */
  static List<Digit> read(Path path) throws IOException {
    List<Digit> digits = new ArrayList<>();
    for (String line : Files.readAllLines(path)) {
      String[] fields = line.split(",");
      float[] image = new float[fields.length - 1];
      for (int pixel = 0; pixel < image.length; pixel++) {
        image[pixel] = Float.parseFloat(fields[pixel + 1]);
      }
      digits.add(new Digit(Long.parseLong(fields[0]), image));
    }
    return digits;
  }
}
